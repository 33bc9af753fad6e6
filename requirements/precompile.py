"""Import what openbell imports, once, so that bytecode lies there before the first start.

Compiling whole packages, their tests included, would add a third to the installed size;
leaving it to the first start fails where the environment is read-only or where
PYTHONDONTWRITEBYTECODE is set, and then each start compiles again.
"""

import importlib
import sys
import warnings

MODULES = (
    "aiomqtt",
    "alpaca.data",
    "alpaca.trading.client",
    "alpaca.trading.stream",
    "apscheduler.schedulers.asyncio",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "exchange_calendars",
    "fastapi",
    "httpx",
    "jinja2",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "msgpack",
    "onnxruntime",
    "pandas",
    "prometheus_client",
    "rich.progress",
    "rich.table",
    "sqlite_utils",
    "structlog",
    "tenacity",
    "typer.rich_utils",
    "uvicorn",
    "websockets.asyncio.client",
    "websockets.asyncio.server",
)


def main() -> None:
    """Import each module with bytecode switched on."""
    sys.dont_write_bytecode = False
    warnings.simplefilter("ignore")
    for module in MODULES:
        importlib.import_module(module)


if __name__ == "__main__":
    main()
