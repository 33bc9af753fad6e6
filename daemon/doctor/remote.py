"""Checks of the services outside; only requests that read."""

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping

from brokers.base import Broker
from daemon.config import Config
from daemon.connection import connect
from daemon.credentials import CLOUDFLARE_TOKEN, FORECAST_TOKEN, Credentials
from daemon.doctor.finding import UNAVAILABLE, Finding, failed, ok, refused, warning
from daemon.embedded import running_endpoint
from daemon.live_mode import check_account
from daemon.session.broker_calendar import SESSIONS_COMPARED
from daemon.session.market_check import MOST_SKEW_SECONDS, differing_dates
from daemon.sources.bar_feed import data_keys
from daemon.sources.forecasting import model_store
from domain.clock import Clock
from domain.errors import AuthRefused, ConfigError, DataError, OpenbellError, StateError
from domain.secrets import Secret
from forecasts.remote_access import auth_headers
from marketdata.session_calendar import NyseCalendar, new_york
from transport import strict_json
from transport.failures import TransportError
from transport.http import BoundedClient, Deadlines, HttpSettings

_LONGEST_CLOSURE = dt.timedelta(days=30)
_OK = 200
_UNAUTHORIZED = (401, 403)
_PATIENCE = Deadlines(connect_seconds=3.0, read_seconds=5.0, total_seconds=6.0)


async def remote_findings(config: Config, clock: Clock) -> AsyncIterator[Finding]:
    """Run every check that needs somebody else's answer."""
    async for finding in _broker(config, clock):
        yield finding
    if config.marketdata.provider == "alpaca":
        yield await _data_feed(config, clock)
    if config.forecasts.remote.url:
        yield await _forecasts(config, clock)
    if config.sentiment.cloudflare.account_id:
        yield await _sentiment(config, clock)


async def _broker(config: Config, clock: Clock) -> AsyncIterator[Finding]:
    if config.broker.kind == "embedded" and running_endpoint(config) is None:
        yield ok("broker", "embedded; it starts and ends with the daemon")
        return
    try:
        async with connect(config) as connection:
            async for finding in _account_and_time(config, connection.broker, clock):
                yield finding
    except (AuthRefused, ConfigError) as exc:
        yield failed(
            "broker",
            str(exc),
            fix="use keys of the account and mode that the configuration names",
            exit_code=78,
        )
    except OpenbellError as exc:
        yield failed(
            "broker",
            str(exc),
            fix=f"check the network and broker.alpaca.trading_url = {_where(config)}",
            exit_code=UNAVAILABLE,
        )


def _where(config: Config) -> str:
    return config.broker.alpaca.trading_url


async def _account_and_time(config: Config, broker: Broker, clock: Clock) -> AsyncIterator[Finding]:
    started = clock.monotonic()
    account = await broker.account()
    milliseconds = (clock.monotonic() - started) * 1000
    check_account(config, account.account_number)
    yield ok("broker", f"account {account.account_number} answers in {milliseconds:.0f} ms")
    if account.is_trading_blocked:
        yield failed(
            "account",
            f"trading is blocked, status {account.status}",
            fix="ask the broker; the daemon halts while it is so",
        )
    elif account.is_suspended_by_user:
        yield warning(
            "account",
            "new orders are locked at the broker, as after a kill",
            fix="when it is safe: openbell resume --reason TEXT --confirm LAST4",
        )
    else:
        yield ok("account", f"{account.status}, equity {account.equity} USD, no flag is set")
    if config.risk.allow_short and await broker.is_shorting_forbidden():
        yield warning(
            "short sales",
            "forbidden at the broker (no_shorting), while risk.allow_short = true",
            fix="after a kill --flatten: openbell resume; else clear no_shorting at the broker",
        )
    before = clock.now()
    theirs = (await broker.clock()).now
    middle = before + (clock.now() - before) / 2
    yield _skew(config, (theirs - middle).total_seconds())
    yield await _calendar(broker, theirs)


def _skew(config: Config, seconds: float) -> Finding:
    if config.clock.kind == "replay":
        return ok("clock", "replayed time, taken from the broker at start")
    text = f"{abs(seconds):.2f} s {'behind' if seconds > 0 else 'ahead of'} the broker"
    if not abs(seconds) <= MOST_SKEW_SECONDS:
        return failed("clock", text, fix="switch time synchronization on: timedatectl set-ntp true")
    return ok("clock", text)


async def _calendar(broker: Broker, now: dt.datetime) -> Finding:
    today = new_york(now).date()
    ours = NyseCalendar().sessions(today, today + _LONGEST_CLOSURE)[:SESSIONS_COMPARED]
    theirs = await broker.calendar(ours[0].date, ours[-1].date)
    if different := differing_dates(ours, theirs):
        days = ", ".join(day.isoformat() for day in different)
        return failed(
            "calendar",
            f"ours and the broker's differ on {days}",
            fix="update exchange-calendars; until then the daemon opens nothing",
        )
    return ok("calendar", f"the next {len(ours)} sessions agree, {ours[0].date} to {ours[-1].date}")


async def _data_feed(config: Config, clock: Clock) -> Finding:
    alpaca = config.marketdata.alpaca
    try:
        key_id, secret_key = data_keys(config)
    except ConfigError as exc:
        return refused("data feed", str(exc))
    headers = {"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": secret_key}
    path = f"/v2/stocks/bars/latest?symbols={config.universe.symbols[0]}&feed={alpaca.feed}"
    status, told = await _ask(alpaca.data_url, path, headers, clock)
    if status == _OK:
        return ok("data feed", f"{alpaca.feed} {told}")
    if status in _UNAUTHORIZED:
        return failed(
            "data feed",
            f"these keys may not read the {alpaca.feed} feed ({told})",
            fix='set marketdata.alpaca.feed = "iex", or subscribe to the other one',
            exit_code=78,
        )
    return failed(
        "data feed",
        f"{alpaca.data_url}: {told}",
        fix="check the network and marketdata.alpaca.data_url",
        exit_code=UNAVAILABLE,
    )


async def _forecasts(config: Config, clock: Clock) -> Finding:
    remote = config.forecasts.remote
    token = Credentials.of(config).find(FORECAST_TOKEN)
    wanted = auth_headers(token, header=remote.auth_header, scheme=remote.auth_scheme)
    headers = {name: text.reveal() for name, text in wanted.items()}
    status, told = await _ask(remote.url, f"/v2/models/{remote.model}/ready", headers, clock)
    if status == _OK:
        return await _right_model(config, headers, clock, told)
    advice = f"put the server's token into $CREDENTIALS_DIRECTORY/{FORECAST_TOKEN}"
    if status not in _UNAUTHORIZED:
        advice = 'start it with openbell serve-models, or set forecasts.remote.url = ""'
    return warning("forecasts", f"{remote.url}: {told}; the local model stands in", fix=advice)


async def _right_model(
    config: Config, headers: Mapping[str, str], clock: Clock, told: str
) -> Finding:
    """A server that is well and has another model refuses every forecast; some tell which."""
    remote = config.forecasts.remote
    text = f"model {remote.model} at {remote.url} {told}"
    try:
        card = model_store(config).card(remote.model)
    except (ConfigError, StateError) as exc:
        return refused("forecasts", str(exc))
    served = set()
    for version in ("", f"/versions/{card.version}"):
        path = f"/v2/models/{remote.model}{version}"
        _, body, _ = await _read(remote.url, path, headers, clock)
        served.add(_model_hash(body))
    if card.sha256 in served or served == {None}:
        return ok("forecasts", text)
    return warning(
        "forecasts",
        f"{text}, but has not {card.title} of this machine; the local model stands in",
        fix=f"bring the version there: openbell models export {card.name} --format onnx",
    )


def _model_hash(body: bytes) -> str | None:
    try:
        document = strict_json.parse(body, what="model metadata")
    except DataError:
        return None
    parameters = document.get("parameters") if isinstance(document, dict) else None
    found = parameters.get("model_hash") if isinstance(parameters, dict) else None
    return found if isinstance(found, str) else None


async def _sentiment(config: Config, clock: Clock) -> Finding:
    cloudflare = config.sentiment.cloudflare
    token = Credentials.of(config).find(CLOUDFLARE_TOKEN)
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    path = f"/accounts/{cloudflare.account_id}/ai/models/search?per_page=1"
    status, told = await _ask(cloudflare.url, path, headers, clock)
    if status == _OK:
        return ok("sentiment", f"{cloudflare.url} {told}")
    advice = "check the network and sentiment.cloudflare.url"
    if status in _UNAUTHORIZED:
        advice = f"give {CLOUDFLARE_TOKEN} the right to read and run Workers AI"
    return warning(
        "sentiment", f"{cloudflare.url}: {told}; the local lexicon stands in", fix=advice
    )


async def _ask(
    url: str, path: str, headers: Mapping[str, str | Secret], clock: Clock
) -> tuple[int | None, str]:
    """Read once; return the status, None without an answer, and what to say about it."""
    status, _, told = await _read(url, path, headers, clock)
    return status, told


async def _read(
    url: str, path: str, headers: Mapping[str, str | Secret], clock: Clock
) -> tuple[int | None, bytes, str]:
    settings = HttpSettings(base_url=url.rstrip("/"), deadlines=_PATIENCE)
    started = clock.monotonic()
    try:
        async with contextlib.aclosing(BoundedClient(settings, dict(headers))) as client:
            reply = await client.request("GET", path)
    except (TransportError, ConfigError) as exc:
        why = exc.kind.value if isinstance(exc, TransportError) else str(exc)
        return None, b"", f"no answer ({why})"
    milliseconds = (clock.monotonic() - started) * 1000
    verb = "answers" if reply.status == _OK else f"answers {reply.status}"
    return reply.status, reply.body, f"{verb} in {milliseconds:.0f} ms"
