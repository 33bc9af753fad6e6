"""``openbell init``: from here to Alpaca paper.  Writes files, and never over an existing one."""

import os
import shutil
import sys
from pathlib import Path

from daemon.command_line import Options
from daemon.commands.output import console, print_json
from domain.errors import BadArgument, StorageError

_PACKAGE = Path(__file__).parents[1]
_TEMPLATE = _PACKAGE / "alpaca_paper.toml"
_UNITS = _PACKAGE / "units"
_PREFIX = "/opt/openbell/.venv"
_CONFIG = "/etc/openbell/config.toml"
_STATE, _OTHER_STATE = 'directory = "var"', 'directory = "var-paper"'
_OPERATOR = "openbell.sh"
_ROOT_PLACES = {
    ".service": Path("/etc/systemd/system"),
    ".conf": Path("/etc/sysusers.d"),
    ".sh": Path("/usr/local/bin"),
}
_STORE_KEYS = (
    "for name in APCA_API_KEY_ID APCA_API_SECRET_KEY; do sudo install -m 600 -o openbell"
    " /dev/stdin /etc/openbell/credentials/$name; done   # paste each, then Ctrl-D"
)


def init(options: Options, *, systemd: bool) -> None:
    """Write a commented configuration for Alpaca paper, and the unit files if asked.

    Raises:
        BadArgument: a file is there already.
        StorageError: a file could not be written.
    """
    is_root = systemd and os.geteuid() == 0
    config, text = options.config, _TEMPLATE.read_text(encoding="utf-8")
    if config is None and is_root:
        config = Path(_CONFIG)
    elif config is None:
        config = Path("config.toml")
        if config.exists():
            # A checkout has the embedded default there, and its books belong to another account.
            config, text = Path("paper.toml"), text.replace(_STATE, _OTHER_STATE)
    files = {config: text}
    if systemd:
        files |= unit_files(config, is_root=is_root)
    for path in files:
        if path.exists():
            raise BadArgument(f"{path} exists already; move it away, or name another with --config")
    for path, text in files.items():
        _write(path, text)
    written = [str(path) for path in files]
    if options.json:
        print_json({"written": written})
        return
    for line in _next_steps(config, written, systemd=systemd, is_root=is_root):
        console().print(line, soft_wrap=True)


def unit_files(config: Path, *, is_root: bool) -> dict[Path, str]:
    """Return the units and the operator's command, each by its place."""
    beside = config.absolute().parent / "systemd"
    found: dict[Path, str] = {}
    for unit in sorted(_UNITS.iterdir()):
        place = _ROOT_PLACES[unit.suffix] if is_root else beside
        name = unit.name
        if is_root:
            name = name.replace(".sysusers.conf", ".conf").removesuffix(".sh")
        found[place / name] = rendered(unit.read_text(encoding="utf-8"), prefix=Path(sys.prefix))
    return found


def rendered(unit: str, *, prefix: Path, base: Path | None = None) -> str:
    """Return a unit for an installation elsewhere; what lies in a home has to be let through.

    Args:
        unit: the text of the unit.
        prefix: the virtual environment.
        base: where its Python is installed; that of this process unless told.
    """
    text = unit.replace(_PREFIX, str(prefix))
    base = base or Path(sys.base_prefix)
    # The code lies beside its environment when it was installed from a checkout; the
    # environment only links to a Python, which pyenv and uv keep in the home too.
    places = [place for place in (prefix.parent, base) if _is_in_a_home(place)]
    if places:
        bound = "\n".join(f"BindReadOnlyPaths={place}" for place in places)
        text = text.replace("ProtectHome=yes", f"ProtectHome=tmpfs\n{bound}")
    return text


def _is_in_a_home(path: Path) -> bool:
    return path.is_relative_to("/home") or path.is_relative_to("/root")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            path.chmod(0o755)
    except OSError as exc:
        raise StorageError(f"{path} could not be written ({exc.strerror}); choose another") from exc


def _named(config: Path) -> str:
    """Return how to call openbell with a configuration, as briefly as it works."""
    command = "openbell" if shutil.which("openbell") else str(Path(sys.prefix) / "bin" / "openbell")
    return command if config == Path("config.toml") else f"{command} --config {config}"


def _next_steps(config: Path, written: list[str], *, systemd: bool, is_root: bool) -> list[str]:
    lines = [f"wrote {name}" for name in written]
    lines.append("Keys of a paper account: https://app.alpaca.markets (free).  Then:")
    if not systemd:
        return [
            *lines,
            "  export APCA_API_KEY_ID=...",
            "  export APCA_API_SECRET_KEY=...",
            f"  {_named(config)} doctor",
            f"  {_named(config)} run",
            f"Beside it, in another terminal: {_named(config)} status",
        ]
    if not is_root:
        folder = config.absolute().parent / "systemd"
        lines += [
            f"  sudo install -D -m 644 {config.absolute()} {_CONFIG}",
            f"  sudo cp {folder}/*.service /etc/systemd/system/",
            f"  sudo cp {folder}/openbell.sysusers.conf /etc/sysusers.d/openbell.conf",
            f"  sudo install -m 755 {folder}/{_OPERATOR} /usr/local/bin/openbell",
        ]
    return [
        *lines,
        "  sudo systemd-sysusers",
        "  sudo install -d -m 700 -o openbell /etc/openbell/credentials",
        f"  {_STORE_KEYS}",
        "  sudo openbell doctor",
        "  sudo systemctl enable --now openbell",
    ]
