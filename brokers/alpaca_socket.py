"""The SDK's TradingStream with its private parts checked and its gaps closed.

Kept apart from alpaca_stream so that the SDK, half a second to import, is loaded only
where a stream is really opened.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from alpaca.trading.stream import TradingStream
from websockets.exceptions import WebSocketException

from domain.errors import DataError
from domain.secrets import Secret
from transport.alpaca_connect import DirectConnect, Socket, check_sdk, parameters, unused
from transport.alpaca_stream import Refused, StreamSettings

Take = Callable[[Mapping[str, object]], None]

# What we call or override, with the parameters it has in the pinned SDK.
PINNED: Mapping[str, tuple[str, ...]] = {
    "_start_ws": ("self",),
    "_connect": ("self",),
    "_auth": ("self",),
    "_dispatch": ("self", "msg"),
    "_subscribe_trade_updates": ("self",),
    "subscribe_trade_updates": ("self", "handler"),
}


class HardenedStream(Socket, TradingStream):
    """TradingStream driven from outside: connect, authenticate, subscribe, hand over frames."""

    def __init__(self, settings: StreamSettings, key_id: Secret, secret_key: Secret) -> None:
        super().__init__(
            key_id.reveal(), secret_key.reveal(), raw_data=True, url_override=settings.url
        )
        self._open_params = parameters(settings)
        self._take: Take = _refuse

    async def start(self, take: Take) -> None:
        """Connect, authenticate and ask for trade updates; ``take`` gets every message."""
        self._take = take
        self.subscribe_trade_updates(unused)
        try:
            await self._start_ws()  # type: ignore[no-untyped-call]
        except (json.JSONDecodeError, AttributeError, TypeError) as exc:
            raise WebSocketException("the stream's first frame has no known form") from exc
        except ValueError as exc:
            raise Refused(f"the trade stream did not accept the keys ({exc})") from exc

    async def dispatch(self, message: Mapping[str, object]) -> None:
        """Hand a message over through the SDK's own seam."""
        await self._dispatch(dict(message))

    async def _connect(self) -> None:
        self._ws = await DirectConnect(self._endpoint, **self._open_params)

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        self._take(msg)


def open_stream(settings: StreamSettings, key_id: Secret, secret_key: Secret) -> HardenedStream:
    """Build the stream; it connects when started.

    Raises:
        ConfigError: the installed SDK is not the one this was written for.
    """
    check_sdk(TradingStream, PINNED)
    return HardenedStream(settings, key_id, secret_key)


def _refuse(_: Mapping[str, object]) -> None:
    raise DataError("trade stream: a message came before the stream was started")
