"""The configuration: every key, its type, its default and its bounds.

Units are in the names: ``_pct`` 0-100, ``_fraction`` 0-1, ``_bps``, ``_seconds``,
``_usd``.  ``config.toml`` in the repository is this file with comments.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config_loader import build, read_toml, section, setting, with_environment
from domain.errors import ConfigError
from domain.ids import is_symbol
from risk.settings import RiskLimits

DEFAULT_PATHS = (Path("config.toml"), Path("/etc/openbell/config.toml"))
MAX_SYMBOLS = 1000
BAR_PROVIDERS = ("sample", "alpaca", "yahoo", "csv")
_WEB = ("https", "http")
_STREAM = ("wss", "ws")
EARNINGS_PROVIDERS = ("none", "yahoo", "alphavantage", "finnhub")


@dataclass(frozen=True, slots=True, kw_only=True)
class Universe:
    """Which symbols are watched."""

    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be a symbol, and duplicates."""
        for symbol in self.symbols:
            if not is_symbol(symbol):
                raise ConfigError(f"universe.symbols: {symbol!r} is not a US equity symbol")
        if len(set(self.symbols)) != len(self.symbols):
            raise ConfigError("universe.symbols: a symbol is listed twice")
        if not 1 <= len(self.symbols) <= MAX_SYMBOLS:
            raise ConfigError(f"universe.symbols: 1 to {MAX_SYMBOLS} symbols are allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockConfig:
    """Real time, or a replay."""

    kind: str = setting("system", choices=("system", "replay"))
    start: str = setting("broker")
    speed: float = setting(0.0, low=0, high=100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the phases of a session day are due."""

    premarket_minutes_before_open: int = setting(60, low=5, high=330)
    submit_minutes_before_open: int = setting(10, low=1, high=60)
    entry_cutoff_minutes_after_open: int = setting(30, low=0, high=390)
    eod_minutes_after_close: int = setting(5, low=1, high=240)
    nightly_minutes_after_close: int = setting(60, low=1, high=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedBroker:
    """The simulated exchange that comes along."""

    starting_cash_usd: int = setting(100_000, low=1_000, high=100_000_000)
    spread_bps: float = setting(2.0, low=0, high=1_000)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaBrokerConfig:
    """Where Alpaca's trading API answers, and how long we wait for it."""

    trading_url: str = setting("https://paper-api.alpaca.markets", schemes=_WEB)
    trade_stream_url: str = setting("wss://paper-api.alpaca.markets/stream", schemes=_STREAM)
    connect_timeout_seconds: float = setting(3.0, low=0.1, high=60)
    read_timeout_seconds: float = setting(10.0, low=0.1, high=120)
    total_timeout_seconds: float = setting(15.0, low=0.2, high=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Who executes."""

    kind: str = setting("embedded", choices=("embedded", "alpaca"))
    embedded: EmbeddedBroker = section(EmbeddedBroker)
    alpaca: AlpacaBrokerConfig = section(AlpacaBrokerConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlpacaDataConfig:
    """Alpaca's market data."""

    data_url: str = setting("https://data.alpaca.markets", schemes=_WEB, has_keys=True)
    data_stream_url: str = setting(
        "wss://stream.data.alpaca.markets/v2/iex", schemes=_STREAM, has_keys=True
    )
    feed: str = setting("iex", choices=("iex", "sip"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvDataConfig:
    """Bars from files, one per symbol."""

    directory: str = setting("bars")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketDataConfig:
    """Where bars come from, what vetoes them, and who tells earnings dates.

    ``events_file`` adds dates of one's own, empty when there are none; ``stream`` listens to
    live quotes, trades, minute bars and halts.
    """

    provider: str = setting("sample", choices=BAR_PROVIDERS)
    min_symbols_pct: float = setting(80.0, low=0, high=100)
    cross_check: str = setting("none", choices=("none", *BAR_PROVIDERS))
    cross_check_sessions: int = setting(5, low=1, high=60)
    cross_check_max_difference_pct: float = setting(1.0, low=0.01, high=50)
    stream: bool = False
    earnings: str = setting("none", choices=EARNINGS_PROVIDERS)
    events_file: str = setting("")
    alpaca: AlpacaDataConfig = section(AlpacaDataConfig)
    csv: CsvDataConfig = section(CsvDataConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsConfig:
    """Where headlines come from."""

    provider: str = setting("sample", choices=("sample", "alpaca", "rss", "alpaca+rss", "none"))
    rss_urls: tuple[str, ...] = ()
    deadline_seconds: float = setting(30.0, low=1, high=300)
    stream: bool = False
    stream_url: str = setting(
        "wss://stream.data.alpaca.markets/v1beta1/news", schemes=_STREAM, has_keys=True
    )
    look_back_hours: float = setting(72.0, low=1, high=720)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingConfig:
    """Who is told how much of the GPU side is needed; an empty url means nobody."""

    url: str = setting("", schemes=_WEB)
    replicas: int = setting(1, low=1, high=64)
    high_volatility_replicas: int = setting(2, low=1, high=64)
    high_volatility_pct: float = setting(60.0, low=0, high=1_000)
    lead_minutes: int = setting(10, low=0, high=120)
    usd_per_replica_hour: float = setting(0.0, low=0, high=1_000)
    timeout_seconds: float = setting(10.0, low=0.1, high=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteForecasts:
    """The GPU side; an empty url means there is none."""

    url: str = setting("", schemes=_WEB)
    model: str = setting("lstm")
    timeout_seconds: float = setting(5.0, low=0.1, high=120)
    # A service that scales to zero answers its first question once it has woken; 0: never asleep.
    warm_up_seconds: float = setting(0.0, low=0, high=600)
    auth_header: str = setting("Authorization")
    auth_scheme: str = setting("Bearer")
    # Called a few times a day: one failure is news enough.
    breaker_failures: int = setting(1, low=1, high=100)
    breaker_reset_seconds: float = setting(60.0, low=1, high=3600)
    scaling: ScalingConfig = section(ScalingConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalForecasts:
    """The twin on this machine."""

    model: str = setting("lstm")
    timeout_seconds: float = setting(30.0, low=1, high=600)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingConfig:
    """When a source of forecasts is demoted, by what came of them.

    ``rule`` is ``relative`` (worse than its baseline beyond chance), ``absolute`` (right less
    often than ``floor_pct``) or ``none``.
    """

    rule: str = setting("relative", choices=("relative", "absolute", "none"))
    window_sessions: int = setting(250, low=20, high=2_500)
    minimum_effective_size: float = setting(30.0, low=5, high=100_000)
    floor_pct: float = setting(55.0, low=1, high=99)
    bad_checks: int = setting(3, low=1, high=250)
    good_checks: int = setting(10, low=1, high=250)
    cool_down_checks: int = setting(20, low=0, high=250)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingConfig:
    """Training a candidate once a week, in a process of its own; needs openbell[train].

    ``promote`` lets a candidate that is better beyond chance replace the model in use.
    """

    enabled: bool = False
    promote: bool = True
    model: str = setting("lstm")
    max_minutes: float = setting(180.0, low=1, high=2_880)
    max_memory_gib: float = setting(8.0, low=1, high=512)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastsConfig:
    """How far ahead, from how much history."""

    horizon: int = setting(40, low=1, high=60)
    min_history: int = setting(180, low=30, high=5_000)
    remote: RemoteForecasts = section(RemoteForecasts)
    local: LocalForecasts = section(LocalForecasts)
    tracking: TrackingConfig = section(TrackingConfig)
    retraining: RetrainingConfig = section(RetrainingConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudflareConfig:
    """Workers AI; an empty account_id means the local lexicon answers alone."""

    url: str = setting("https://api.cloudflare.com/client/v4", schemes=_WEB, has_keys=True)
    account_id: str = setting("")
    model: str = setting("@cf/meta/llama-3.3-70b-instruct-fp8-fast")
    timeout_seconds: float = setting(8.0, low=0.1, high=60)
    run_timeout_seconds: float = setting(30.0, low=1, high=300)
    daily_neuron_budget: int = setting(10_000, low=0, high=100_000_000)
    # Rates of the model above: they change with it.
    neurons_per_million_tokens_in: float = setting(26_668.0, low=0, high=10_000_000)
    neurons_per_million_tokens_out: float = setting(204_805.0, low=0, high=10_000_000)
    usd_per_thousand_neurons: float = setting(0.011, low=0, high=100)
    max_headlines: int = setting(200, low=1, high=5_000)
    breaker_failures: int = setting(1, low=1, high=100)
    breaker_reset_seconds: float = setting(300.0, low=1, high=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinBertConfig:
    """A local model of one's own; an empty ``model`` means there is none.

    ``labels`` is the order of the model's outputs.
    """

    model: str = setting("")
    tokenizer: str = setting("tokenizer.json")
    sha256: str = setting("")
    labels: tuple[str, ...] = ("positive", "negative", "neutral")
    run_timeout_seconds: float = setting(30.0, low=1, high=300)
    max_headlines: int = setting(200, low=1, high=5_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentConfig:
    """How news is scored: by the first of these that answers, else by the lexicon."""

    cloudflare: CloudflareConfig = section(CloudflareConfig)
    finbert: FinBertConfig = section(FinBertConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostsConfig:
    """Budgets of the paid services."""

    gpu_daily_budget_usd: float = setting(100.0, low=0, high=100_000)
    monthly_budget_usd: float = setting(400.0, low=0, high=1_000_000)
    gpu_usd_per_call: float = setting(0.0, low=0, high=1_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateConfig:
    """Where everything is kept."""

    directory: str = setting("var")

    def __post_init__(self) -> None:
        """Refuse no name at all: it would be whatever folder a command is typed in."""
        if not self.directory.strip():
            raise ConfigError('state.directory = "": must name a directory')


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionConfig:
    """What the night keeps; the event log, the orders and the books are never pruned."""

    backups: int = setting(14, low=1, high=1_000)
    # A month's report begins with the last reading before its first session.
    curve_days: int = setting(730, low=40, high=36_500)
    decision_days: int = setting(730, low=30, high=36_500)
    headline_days: int = setting(90, low=1, high=36_500)
    incident_days: int = setting(730, low=30, high=36_500)
    cost_days: int = setting(730, low=60, high=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttConfig:
    """Telemetry out, signed commands in."""

    enabled: bool = False
    host: str = setting("127.0.0.1")
    port: int = setting(1883, low=1, high=65_535)
    tls: bool = False
    topic_prefix: str = setting("openbell")
    command_public_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what nothing could be published under: that would end the daemon itself."""
        if not self.enabled:
            return
        prefix = self.topic_prefix.strip("/")
        if not prefix.isprintable() or not prefix or set(prefix) & set("+#$"):
            raise ConfigError(
                f"mqtt.topic_prefix = {self.topic_prefix!r}: must be a topic such as 'openbell',"
                " without +, # and $"
            )
        if not self.host.strip():
            raise ConfigError(f"mqtt.host = {self.host!r}: must name a host, such as '127.0.0.1'")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpConfig:
    """The dashboard, on loopback."""

    enabled: bool = False
    host: str = setting("127.0.0.1", choices=("127.0.0.1", "::1", "localhost"))
    port: int = setting(8787, low=1, high=65_535)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsConfig:
    """Who is told, in Apprise's form; and where the proof that we live goes."""

    urls: tuple[str, ...] = setting((), is_secret=True)
    reports: bool = False
    heartbeat_url: str = setting("", schemes=_WEB, is_secret=True)
    heartbeat_minutes: float = setting(5.0, low=0.1, high=1_440)

    def __post_init__(self) -> None:
        """Refuse to deliver to nobody."""
        if self.reports and not self.urls:
            raise ConfigError("alerts.reports = true: alerts.urls must name who gets them")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthConfig:
    """When so much fails that the daemon looks at itself and begins anew."""

    max_error_pct: float = setting(1.0, low=0.01, high=100)
    min_errors: int = setting(5, low=1, high=10_000)
    error_window_seconds: float = setting(600.0, low=10, high=86_400)
    restarts_per_day: int = setting(3, low=0, high=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """How the log is written."""

    level: str = setting("info", choices=("debug", "info", "warning", "error"))
    format: str = setting("json", choices=("json", "console"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All sections.  ``strategies`` is checked by strategies.registry when it is built."""

    universe: Universe
    mode: str = setting("paper", choices=("paper", "live"))
    clock: ClockConfig = section(ClockConfig)
    schedule: Schedule = section(Schedule)
    broker: BrokerConfig = section(BrokerConfig)
    marketdata: MarketDataConfig = section(MarketDataConfig)
    news: NewsConfig = section(NewsConfig)
    forecasts: ForecastsConfig = section(ForecastsConfig)
    sentiment: SentimentConfig = section(SentimentConfig)
    strategies: dict[str, Any] = setting({})
    risk: RiskLimits = section(RiskLimits)
    costs: CostsConfig = section(CostsConfig)
    state: StateConfig = section(StateConfig)
    retention: RetentionConfig = section(RetentionConfig)
    mqtt: MqttConfig = section(MqttConfig)
    http: HttpConfig = section(HttpConfig)
    alerts: AlertsConfig = section(AlertsConfig)
    health: HealthConfig = section(HealthConfig)
    logging: LoggingConfig = section(LoggingConfig)

    def __post_init__(self) -> None:
        """Refuse combinations that no single key shows."""
        if "rss" in self.news.provider and not self.news.rss_urls:
            raise ConfigError(
                f'news.provider = "{self.news.provider}": news.rss_urls must name the feeds'
            )
        if self.marketdata.cross_check == self.marketdata.provider:
            raise ConfigError(
                f'marketdata.cross_check = "{self.marketdata.cross_check}": a source cannot check'
                " itself; name another one"
            )
        if self.mode == "live" and self.clock.kind == "replay":
            raise ConfigError('clock.kind = "replay": live mode trades on the system clock only')
        if self.mode == "live" and self.broker.kind == "embedded":
            raise ConfigError('broker.kind = "embedded": live mode needs kind = "alpaca"')


def find_path(path: Path | None) -> Path:
    """Return the file to read: the one named, else the first default that exists."""
    if path is not None:
        return path
    return next(
        (candidate for candidate in DEFAULT_PATHS if _may_be_there(candidate)), DEFAULT_PATHS[0]
    )


def _may_be_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # In a folder that this user may not look into: who reads it says so.
        return True


def state_directory(config: Config) -> Path:
    """Return the state directory, with ``~`` resolved."""
    return Path(config.state.directory).expanduser()


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read, override from the environment, and check the configuration.

    Raises:
        ConfigError: anything at all is wrong with it.
    """
    return build(Config, with_environment(read_toml(find_path(path)), environ))
