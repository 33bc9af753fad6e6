"""Checks on this machine: nothing leaves it."""

import datetime as dt
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.config import Config, find_path, state_directory
from daemon.credentials import BROKER_KEY_ID, BROKER_SECRET_KEY, CLOUDFLARE_TOKEN, Credentials
from daemon.doctor import sources
from daemon.doctor.finding import Finding, failed, ok, refused, warning
from daemon.doctor.packages import packages
from daemon.doctor.training import training
from daemon.doctor.understood import check_understood
from daemon.live_mode import check_configuration
from domain.errors import ConfigError, OpenbellError, StateError
from domain.ids import Symbol
from domain.trading_state import TradingState
from forecasts.model_store import SHIPPED, ModelStore
from marketdata.recording import recording
from risk.settings import RiskLimits
from state.inspection import inspect
from state.latch import Latch
from state.pause import Pause
from state.reader import Reader
from state.rehearsal import room_needed

_GIGABYTE = 1_000_000_000
LEAST_FREE_BYTES = 200_000_000
SCARCE_FREE_BYTES = _GIGABYTE

Check = Callable[[Config], Iterator[Finding]]


def local_findings(config: Config, path: Path | None) -> Iterator[Finding]:
    """Run every check that needs nobody else."""
    yield _configuration(config, path)
    checks: tuple[tuple[str, Check], ...] = (
        ("mode", _mode),
        ("keys", _keys),
        ("state directory", _directory),
        ("disk", _disk),
        ("database", _database),
        ("latch", _latch),
        ("models", _models),
        ("training", training),
        ("recorded data", _recorded),
        ("bars", sources.bars),
        ("earnings", sources.earnings),
        ("finbert", sources.finbert),
        ("news", sources.news),
        ("packages", packages),
    )
    for name, check in checks:
        try:
            yield from check(config)
        except OpenbellError as exc:
            yield refused(name, str(exc))


def _configuration(config: Config, path: Path | None) -> Finding:
    try:
        check_understood(config)
    except ConfigError as exc:
        return refused("config", str(exc))
    symbols = len(config.universe.symbols)
    limits: RiskLimits = config.risk
    return ok(
        "config",
        f"{find_path(path)}: {config.mode} mode, broker {config.broker.kind}, {symbols} symbols,"
        f" drawdown limit {limits.max_drawdown_pct} %",
    )


def _mode(config: Config) -> Iterator[Finding]:
    check_configuration(config)
    if config.broker.kind == "embedded":
        yield ok("mode", "the embedded broker on loopback; no order leaves this machine")
        return
    yield ok("mode", f"{config.mode}: {config.broker.alpaca.trading_url} fits")


def _keys(config: Config) -> Iterator[Finding]:
    credentials = Credentials.of(config)
    if config.sentiment.cloudflare.account_id and credentials.find(CLOUDFLARE_TOKEN) is None:
        yield warning(
            "keys",
            f"{CLOUDFLARE_TOKEN} is missing, so headlines are scored by the local lexicon",
            fix=f"put it into $CREDENTIALS_DIRECTORY/{CLOUDFLARE_TOKEN}",
        )
    if config.broker.kind == "embedded":
        yield ok("keys", "the embedded broker brings its own")
        return
    key_id = credentials.require(BROKER_KEY_ID).reveal()
    credentials.require(BROKER_SECRET_KEY)
    # A hint only: Alpaca does not promise what its key ids begin with.
    expected, other = ("AK", "PK") if config.mode == "live" else ("PK", "AK")
    if key_id.startswith(other):
        yield warning(
            "keys",
            f"the key id begins with {other}, as keys of the other mode do",
            fix=f"use keys of a {config.mode} account; theirs begin with {expected}",
        )
        return
    place = credentials.place(BROKER_KEY_ID)
    yield ok(
        "keys",
        f"{BROKER_KEY_ID} and {BROKER_SECRET_KEY} were read from {place};"
        " a daemon that runs has those of its start",
    )


def _directory(config: Config) -> Iterator[Finding]:
    directory = state_directory(config)
    name = "state directory"
    if directory.is_symlink():
        yield failed(
            name,
            f"{directory} is a symbolic link",
            fix="put the directory itself there, or name its target in state.directory",
            exit_code=78,
        )
        return
    if not directory.exists():
        yield ok(name, f"{directory} does not exist yet; the daemon creates it")
        return
    status = directory.stat()
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISDIR(status.st_mode):
        yield refused(name, f"{directory} is not a directory: name another state.directory")
    elif status.st_uid != os.geteuid():
        yield refused(name, f"{directory} belongs to another user: run as its owner or chown it")
    elif mode & 0o022:
        yield refused(name, f"{directory} may be written by others: run chmod 700 {directory}")
    elif mode & 0o055:
        yield warning(name, f"{directory} may be read by others", fix=f"run chmod 700 {directory}")
    else:
        yield ok(name, f"{directory} is ours alone")


def _disk(config: Config) -> Iterator[Finding]:
    place = state_directory(config).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / _GIGABYTE:.1f} GB are free under {place}"
    fix = f"free space on the disk of {place}"
    needed = room_needed(state_directory(config))
    if free < LEAST_FREE_BYTES:
        yield failed("disk", text, fix=fix)
    elif free < needed:
        what = f"a tested backup of the database needs {needed / _GIGABYTE:.1f}"
        yield warning("disk", f"{text}, and {what}", fix=fix)
    elif free < SCARCE_FREE_BYTES:
        yield warning("disk", text, fix=fix)
    else:
        yield ok("disk", text)


def _database(config: Config) -> Iterator[Finding]:
    found = inspect(state_directory(config))
    if found is None:
        yield ok("database", "none yet; the daemon creates it")
        return
    owner = f"account {found.account}" if found.account else "no account yet"
    yield ok(
        "database",
        f"sound: {found.events} events, chain unbroken, schema {found.schema}, {owner}",
    )


def _latch(config: Config) -> Iterator[Finding]:
    directory = state_directory(config)
    latch = Latch(directory)
    if not latch.path.exists() and inspect(directory) is None:
        yield ok("latch", "none yet; a new state directory begins armed")
        return
    state = latch.read()
    if state.is_engaged:
        since = f" since {state.at:%Y-%m-%d %H:%M} UTC" if state.at else ""
        ban = "; short sales are forbidden at the broker" if state.is_shorting_forbidden else ""
        fix = "when it is safe: openbell resume --reason TEXT --confirm LAST4"
        if state.pending is not None:
            fix = "run openbell kill until it is verified"
        yield warning("latch", f"engaged{since}: {state.reason}{ban}", fix=fix)
    elif (why := Pause(directory).reason) is not None:
        yield warning("latch", f"armed, but entries are paused: {why}", fix="openbell unpause")
    else:
        yield _armed(directory)


def _armed(directory: Path) -> Finding:
    """An armed latch is not the only thing that orders wait for."""
    try:
        with Reader(directory) as reader:
            now = reader.status()
    except StateError:
        # What is the matter with the database is told by its own line.
        return ok("latch", "armed")
    if now["trading_state"] == TradingState.ACTIVE:
        return ok("latch", "armed: orders may leave")
    why = now["kill"]["reason"] or now["trading_state_reason"]
    return warning(
        "latch",
        f"armed, but trading is {now['trading_state']}: {why}",
        fix="openbell status tells the rest",
    )


def _models(config: Config) -> Iterator[Finding]:
    store = ModelStore((state_directory(config) / "models", SHIPPED))
    wanted = {config.forecasts.local.model}
    if config.forecasts.remote.url:
        wanted.add(config.forecasts.remote.model)
    loaded = [store.load(name).card for name in sorted(wanted)]
    horizon = config.forecasts.horizon
    for card in loaded:
        if horizon > card.horizon:
            raise ConfigError(
                f"forecasts.horizon is {horizon}, but model {card.title} forecasts up to"
                f" {card.horizon} sessions: lower it"
            )
    yield ok("models", ", ".join(f"{card.title} {card.sha256[:12]}" for card in loaded))


def _recorded(config: Config) -> Iterator[Finding]:
    if config.broker.kind != "embedded" and config.marketdata.provider != "sample":
        return
    coverage = recording().coverage()
    missing = [name for name in config.universe.symbols if Symbol(name) not in coverage]
    if missing:
        raise ConfigError(
            f"universe.symbols: {', '.join(missing[:3])} not recorded: choose from the recording,"
            " or another marketdata.provider"
        )
    last: dt.date = min(coverage[Symbol(name)].last for name in config.universe.symbols)
    yield ok("recorded data", f"{len(coverage)} symbols installed, ours up to {last}")
