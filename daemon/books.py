"""Open the books of an account: what the order path works with, in the daemon and in commands."""

import structlog

from brokers.alpaca_wire import BROKER_BREAKER
from brokers.base import Broker
from daemon.config import Config, state_directory
from daemon.connection import BROKER, Connection
from daemon.live_mode import check_account
from daemon.provenance import made_by
from daemon.sources.breaker_memory import RememberedBreaker, RememberingBroker
from daemon.telemetry.telling import Telling
from domain.ids import Symbol
from execution.desk import Desk, OrderSettings
from execution.holding_limits import HoldingLimits
from risk.error_rate import ErrorWindow
from state.breakers import Breakers
from state.equity import EquityCurve
from state.facts import Facts
from state.incidents import Incidents
from state.journal import Journal
from state.latch import Latch
from state.ledger import Ledger
from state.risk_state import RiskState
from state.store import Store


async def open_books(
    config: Config, connection: Connection, store: Store, telling: Telling | None = None
) -> Desk:
    """Tie the store to the account that answers, and lay out what the order path works with.

    Raises:
        ConfigError: the account is not the one that the mode asks for.
        StateError: the store belongs to another account.
        BrokerUnavailable: the account could not be read.
    """
    account = await connection.broker.account()
    check_account(config, account.account_number)
    store.bind_account(account.account_number)
    latch = Latch(state_directory(config))
    store.sync_latch(latch)
    Facts(store).put(mode=config.mode)
    ledger, journal = Ledger(store), Journal(store)
    return Desk(
        broker=_watched(connection, store, telling),
        urgent=telling.broker(connection.broker.urgent()) if telling else None,
        store=store,
        journal=journal,
        ledger=ledger,
        incidents=Incidents(store),
        latch=latch,
        clock=connection.clock,
        trading_state=RiskState(store).trading_state,
        settings=OrderSettings(is_long_only=not config.risk.allow_short),
        errors=ErrorWindow(config.risk.order_errors),
        over_limit=HoldingLimits(
            config.risk,
            curve=EquityCurve(store),
            ledger=ledger,
            journal=journal,
            equity=account.equity,
        ).over,
        alert=telling.hub.alert if telling else _alert,
        made_by=made_by(config),
    )


def _watched(connection: Connection, store: Store, telling: Telling | None) -> Broker:
    """In the daemon calls are timed and counted, and a breaker that opens outlives a restart."""
    if telling is None:
        return connection.broker
    watched = telling.broker(connection.broker)
    if connection.breaker is None:
        return watched
    remembered = RememberedBreaker(
        BROKER,
        BROKER_BREAKER,
        memory=Breakers(store),
        clock=connection.clock,
        breaker=connection.breaker,
    )
    return RememberingBroker(watched, remembered)


def _alert(kind: str, text: str, symbol: Symbol | None) -> None:
    structlog.get_logger("alert").warning(kind, text=text, symbol=symbol)
