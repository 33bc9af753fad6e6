"""Real money only after three separate confirmations, and never by a mix-up of addresses.

Live mode needs ``mode = "live"`` in the configuration, ``OPENBELL_LIVE=1`` from the
service's drop-in, and the account number that a person typed at this machine, which must
be the one that the broker reports.  Keys, host and account must fit the mode; anything
else is refused before a request that writes.  The kill switch asks nothing of this.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from daemon.config import AlpacaBrokerConfig, Config, state_directory
from daemon.config_loader import is_loopback
from domain.clock import Clock
from domain.errors import BadArgument, ConfigError, StorageError
from state.files import prepare_directory

LIVE_HOST = "api.alpaca.markets"
PAPER_HOST = "paper-api.alpaca.markets"
_ALPACA = ".alpaca.markets"
DROP_IN = "OPENBELL_LIVE"
ARMING_FILE = "LIVE"
PAPER_PREFIX = "PA"

_NUMBER = re.compile(r"[A-Z0-9]{6,20}")
_LARGEST_FILE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Arming:
    """What a person confirmed at this machine."""

    account: str
    armed_at: str


def check_configuration(config: Config, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse what is wrong before anything was sent: addresses, drop-in, arming file.

    Raises:
        ConfigError: naming the key, file or variable that is missing or does not fit.
    """
    if config.broker.kind != "alpaca":
        return
    _check_addresses(config.mode, config.broker.alpaca)
    _check_clock(config)
    if config.mode == "live":
        _check_data_addresses(config)
        _check_drop_in(environ)
        read_arming(config)


def check_account(config: Config, number: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse an account that is not the one meant.

    Args:
        config: tells the mode.
        number: the account number as the broker just reported it.
        environ: where the drop-in's variable is looked for.

    Raises:
        ConfigError: the account, or anything that ``check_configuration`` looks at.
    """
    check_configuration(config, environ)
    if config.broker.kind != "alpaca":
        return
    is_paper_account = number.startswith(PAPER_PREFIX)
    if config.mode == "live":
        armed = read_arming(config).account
        if is_paper_account or number != armed:
            raise ConfigError(
                f"live mode is armed for account {armed}, and the broker reports {number}:"
                " check the keys, or arm again with `openbell arm-live`"
            )
    elif not is_paper_account and _host(config.broker.alpaca.trading_url) == PAPER_HOST:
        raise ConfigError(
            f'mode = "paper": account {number} is no paper account (their numbers begin with'
            f" {PAPER_PREFIX}); use the keys of a paper account"
        )


def arm(config: Config, *, account: str, confirm: str, clock: Clock) -> Path:
    """Write down the account that live mode may trade; return the file.

    Raises:
        BadArgument: the two numbers differ, or are no live account's.
        StateError: the state directory cannot be used.
    """
    if account != confirm:
        raise BadArgument("--confirm is not the number given with --account: type it twice")
    if _NUMBER.fullmatch(account) is None:
        raise BadArgument(f"--account {account}: no account number; the broker's page shows it")
    if account.startswith(PAPER_PREFIX):
        raise BadArgument(
            f"--account {account}: that is a paper account; paper mode needs no arming"
        )
    prepare_directory(state_directory(config))
    path = arming_file(config)
    draft = path.with_name(f"{ARMING_FILE}.{os.getpid()}")
    document = {"account": account, "armed_at": clock.now().isoformat()}
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(document) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as exc:
        draft.unlink(missing_ok=True)
        raise StorageError(
            f"{path} could not be written ({exc.strerror}); nothing is armed"
        ) from exc
    return path


def arming_file(config: Config) -> Path:
    """Return where the confirmation of this state directory lies."""
    return state_directory(config) / ARMING_FILE


def read_arming(config: Config) -> Arming:
    """Read the confirmation.

    Raises:
        ConfigError: there is none, or others could have written it.
    """
    path = arming_file(config)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(
            f"{path} is missing: live mode needs `openbell arm-live --account NUMBER"
            " --confirm NUMBER`, typed at this machine"
        ) from None
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read ({exc.strerror}): arm again") from exc
    with os.fdopen(descriptor, "rb") as file:
        _check_private(path, os.fstat(descriptor))
        return _parsed(path, file.read(_LARGEST_FILE))


def _check_private(path: Path, found: os.stat_result) -> None:
    is_ours = found.st_uid in (0, os.geteuid())
    if not stat.S_ISREG(found.st_mode) or not is_ours or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"{path}: others may read or write it; remove it and arm again")


def _parsed(path: Path, content: bytes) -> Arming:
    try:
        document = json.loads(content)
        account, armed_at = document["account"], document["armed_at"]
    except (ValueError, KeyError, TypeError):
        account = armed_at = None
    is_number = isinstance(account, str) and _NUMBER.fullmatch(account) is not None
    if not is_number or not isinstance(armed_at, str) or account.startswith(PAPER_PREFIX):
        raise ConfigError(f"{path} is damaged: arm again with `openbell arm-live`")
    return Arming(account=account, armed_at=armed_at)


def _check_drop_in(environ: Mapping[str, str]) -> None:
    if environ.get(DROP_IN) != "1":
        raise ConfigError(
            f'mode = "live": {DROP_IN}=1 is not set; put `Environment={DROP_IN}=1` into a drop-in'
            " of the service (systemctl edit openbell)"
        )


def _check_clock(config: Config) -> None:
    """An account that lives by real time would get the orders of a recorded day, or of many."""
    if config.clock.kind == "replay" and not is_loopback(_host(config.broker.alpaca.trading_url)):
        raise ConfigError(
            'clock.kind = "replay": only a broker on loopback goes by it; set clock.kind ='
            ' "system" for an account at Alpaca'
        )


def _check_addresses(mode: str, urls: AlpacaBrokerConfig) -> None:
    for key, url, secure, path in (
        # Alpaca's page shows its address with /v2, which comes with each request.
        ("trading_url", urls.trading_url, "https", ""),
        ("trade_stream_url", urls.trade_stream_url, "wss", "/stream"),
    ):
        if problem := _address_problem(mode, url, secure, path):
            raise ConfigError(f"broker.alpaca.{key} = {url!r}: {problem}")


def _check_data_addresses(config: Config) -> None:
    """The keys of the account go with every request for data."""
    data = config.marketdata.alpaca
    for key, url in (
        ("marketdata.alpaca.data_url", data.data_url),
        ("marketdata.alpaca.data_stream_url", data.data_stream_url),
        ("news.stream_url", config.news.stream_url),
    ):
        if not _host(url).endswith(_ALPACA):
            raise ConfigError(
                f'{key} = {url!r}: mode = "live" gives the keys of the account to hosts of'
                f" {_ALPACA[1:]} only; delete the line for Alpaca's own address"
            )


def _address_problem(mode: str, url: str, secure: str, path: str) -> str | None:
    wanted = LIVE_HOST if mode == "live" else PAPER_HOST
    if mode != "live" and is_loopback(_host(url)):
        return None
    if _host(url) == wanted and _scheme(url) == secure and _is_plain(url, path):
        return None
    beside = "" if mode == "live" else ", or a server on loopback"
    return f'mode = "{mode}" needs {secure}://{wanted}{path}{beside}'


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:
        return ""


def _is_plain(url: str, path: str) -> bool:
    """Tell that a URL has this path, no user part and the standard port: nothing that misleads."""
    try:
        parts = urlsplit(url)
        is_ours = parts.path.rstrip("/") == path and not (parts.query or parts.fragment)
        is_bare = parts.port in (None, 443) and parts.username is None and "\\" not in url
        return is_ours and is_bare
    except ValueError:
        return False
