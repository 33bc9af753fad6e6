"""The tables, as numbered migrations: once released, a migration never changes.

docs/state.md describes every column.  Tables are STRICT; money, prices and quantities
are TEXT decimals; moments are RFC 3339 in UTC with microseconds, so they sort as text.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

EVENTS = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_never_vanish BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
"""

WRITER = """
CREATE TABLE writer (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    account TEXT
) STRICT
"""

ORDERS = """
CREATE TABLE orders (
    client_order_id TEXT PRIMARY KEY,
    broker_order_id TEXT,
    session_date TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity TEXT NOT NULL,
    order_type TEXT NOT NULL,
    limit_price TEXT,
    time_in_force TEXT NOT NULL,
    strategy TEXT NOT NULL,
    leg TEXT NOT NULL,
    revision INTEGER NOT NULL,
    decision_price TEXT NOT NULL,
    reason TEXT NOT NULL,
    run_id TEXT,
    is_external INTEGER NOT NULL DEFAULT 0 CHECK (is_external IN (0, 1)),
    state TEXT NOT NULL,
    is_working INTEGER NOT NULL CHECK (is_working IN (0, 1)),
    state_reason TEXT NOT NULL DEFAULT '',
    raw_status TEXT,
    filled_quantity TEXT NOT NULL DEFAULT '0',
    filled_avg_price TEXT,
    booked_quantity TEXT NOT NULL DEFAULT '0',
    booked_notional TEXT NOT NULL DEFAULT '0',
    busted_quantity TEXT NOT NULL DEFAULT '0',
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    sent_at TEXT,
    acknowledged_at TEXT,
    updated_at TEXT NOT NULL,
    planned_seq INTEGER NOT NULL,
    planned_item INTEGER,
    updated_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_session ON orders (session_date, symbol);
CREATE INDEX orders_by_broker_id ON orders (broker_order_id) WHERE broker_order_id IS NOT NULL;
CREATE INDEX orders_working ON orders (is_working) WHERE is_working = 1;
CREATE VIEW limit_checks AS
    SELECT o.client_order_id, o.run_id, o.session_date, o.symbol,
           json_extract(c.value, '$[0]') AS "limit",
           json_extract(c.value, '$[1]') AS passed,
           json_extract(c.value, '$[2]') AS figure,
           json_extract(c.value, '$[3]') AS bound,
           json_extract(c.value, '$[4]') AS detail
    FROM orders o JOIN events e ON e.seq = o.planned_seq,
         json_each(e.payload, '$.orders[' || o.planned_item || '][15]') c
    WHERE o.planned_item IS NOT NULL
"""

FILLS = """
CREATE TABLE fills (
    execution_id TEXT PRIMARY KEY,
    broker_order_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    quantity TEXT NOT NULL,
    price TEXT NOT NULL,
    cumulative_quantity TEXT NOT NULL,
    at TEXT NOT NULL,
    origin TEXT NOT NULL,
    booked_at TEXT NOT NULL,
    seq INTEGER NOT NULL,
    reversed_seq INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX fills_once ON fills (broker_order_id, cumulative_quantity)
    WHERE reversed_seq IS NULL;
CREATE INDEX fills_by_order ON fills (client_order_id);
CREATE INDEX fills_by_broker_order ON fills (broker_order_id);
CREATE INDEX fills_by_time ON fills (at);
CREATE TABLE execution_aliases (
    execution_id TEXT PRIMARY KEY,
    booked_as TEXT NOT NULL,
    origin TEXT NOT NULL,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""

LEDGER = """
CREATE TABLE ledger_entries (
    entry_id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    booked_at TEXT NOT NULL,
    symbol TEXT,
    quantity TEXT NOT NULL,
    cash TEXT NOT NULL,
    cost TEXT NOT NULL,
    in_kind TEXT NOT NULL,
    realized_pnl TEXT NOT NULL,
    execution_id TEXT,
    activity_id TEXT UNIQUE,
    description TEXT NOT NULL
) STRICT;
CREATE INDEX ledger_entries_by_time ON ledger_entries (at);
CREATE INDEX ledger_entries_by_symbol ON ledger_entries (symbol);
CREATE TABLE positions (
    symbol TEXT PRIMARY KEY,
    quantity TEXT NOT NULL,
    total_cost TEXT NOT NULL,
    realized_pnl TEXT NOT NULL,
    updated_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE balances (
    name TEXT PRIMARY KEY,
    amount TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE symbol_locks (
    symbol TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    locked_at TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""

RISK = """
CREATE TABLE risk_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    high_water_mark TEXT,
    high_water_mark_at TEXT,
    trading_state TEXT NOT NULL,
    trading_state_reason TEXT NOT NULL,
    trading_state_at TEXT,
    latch_is_engaged INTEGER NOT NULL CHECK (latch_is_engaged IN (0, 1)),
    latch_reason TEXT NOT NULL,
    latch_at TEXT,
    latch_sequence INTEGER NOT NULL
) STRICT;
CREATE TABLE sessions (
    session_date TEXT PRIMARY KEY,
    start_equity TEXT NOT NULL,
    started_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE cash_flows (
    activity_id TEXT PRIMARY KEY,
    amount TEXT NOT NULL,
    booked_at TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""

RUNS = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    session_date TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    started_at TEXT NOT NULL,
    finished_at TEXT,
    UNIQUE (session_date, kind)
) STRICT, WITHOUT ROWID
"""

DECISIONS = """
CREATE TABLE decisions (
    run_id TEXT PRIMARY KEY,
    session_date TEXT NOT NULL,
    as_of TEXT NOT NULL,
    view_hash TEXT NOT NULL,
    equity TEXT NOT NULL,
    recorded_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX decisions_by_session ON decisions (session_date, as_of);
CREATE TABLE forecasts (
    run_id TEXT NOT NULL REFERENCES decisions ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    as_of TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    levels TEXT NOT NULL,
    quantiles TEXT NOT NULL,
    mean REAL NOT NULL,
    volatility REAL NOT NULL,
    probability_up REAL NOT NULL,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    model_hash TEXT NOT NULL,
    data_cutoff TEXT NOT NULL,
    PRIMARY KEY (run_id, symbol)
) STRICT, WITHOUT ROWID;
CREATE TABLE sentiment (
    run_id TEXT NOT NULL REFERENCES decisions ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    score REAL NOT NULL,
    label TEXT NOT NULL,
    confidence REAL NOT NULL,
    source TEXT NOT NULL,
    headlines INTEGER NOT NULL,
    newest_at TEXT,
    as_of TEXT NOT NULL,
    PRIMARY KEY (run_id, symbol)
) STRICT, WITHOUT ROWID;
CREATE TABLE signals (
    run_id TEXT NOT NULL REFERENCES decisions ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    strategy TEXT NOT NULL,
    action TEXT NOT NULL,
    strength REAL NOT NULL,
    confidence REAL NOT NULL,
    expected_return REAL NOT NULL,
    volatility REAL NOT NULL,
    horizon INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (run_id, symbol, strategy)
) STRICT, WITHOUT ROWID;
CREATE TABLE combined_signals (
    run_id TEXT NOT NULL REFERENCES decisions ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    action TEXT NOT NULL,
    strength REAL NOT NULL,
    confidence REAL NOT NULL,
    expected_return REAL NOT NULL,
    volatility REAL NOT NULL,
    horizon INTEGER NOT NULL,
    sentiment_tilt REAL NOT NULL,
    kelly_weight REAL NOT NULL,
    target_quantity TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (run_id, symbol)
) STRICT, WITHOUT ROWID;
CREATE TABLE view_symbols (
    run_id TEXT NOT NULL REFERENCES decisions ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    last_bar_at TEXT,
    last_close TEXT,
    position TEXT NOT NULL,
    excluded TEXT,
    PRIMARY KEY (run_id, symbol)
) STRICT, WITHOUT ROWID
"""


TRACK_RECORD = """
CREATE TABLE locked_forecasts (
    number INTEGER PRIMARY KEY CHECK (number > 0),
    seq INTEGER NOT NULL,
    locked_at TEXT NOT NULL,
    symbol TEXT NOT NULL,
    data_cutoff TEXT NOT NULL,
    last_close REAL NOT NULL,
    horizon INTEGER NOT NULL,
    levels TEXT NOT NULL,
    quantiles TEXT NOT NULL,
    probability_up REAL NOT NULL,
    base_rate REAL NOT NULL,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    model_hash TEXT NOT NULL,
    previous TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT;
CREATE INDEX locked_forecasts_by_key
    ON locked_forecasts (symbol, data_cutoff, source, model_hash, number);
CREATE INDEX locked_forecasts_by_event ON locked_forecasts (seq);
CREATE INDEX locked_forecasts_by_cutoff ON locked_forecasts (data_cutoff);
CREATE TRIGGER locked_forecasts_never_change BEFORE UPDATE ON locked_forecasts
BEGIN SELECT RAISE(ABORT, 'locked forecasts never change'); END;
CREATE TABLE forecast_outcomes (
    number INTEGER PRIMARY KEY REFERENCES locked_forecasts,
    session_date TEXT NOT NULL,
    matured_on TEXT NOT NULL,
    outcome REAL NOT NULL,
    is_right INTEGER NOT NULL CHECK (is_right IN (0, 1)),
    is_inside_80 INTEGER NOT NULL CHECK (is_inside_80 IN (0, 1)),
    scored_at TEXT NOT NULL
) STRICT;
CREATE INDEX forecast_outcomes_by_session ON forecast_outcomes (session_date);
CREATE INDEX forecast_outcomes_by_maturity ON forecast_outcomes (matured_on);
CREATE TRIGGER forecast_outcomes_never_change BEFORE UPDATE ON forecast_outcomes
BEGIN SELECT RAISE(ABORT, 'outcomes never change'); END;
CREATE TABLE forecast_scores (
    session_date TEXT NOT NULL,
    grouping TEXT NOT NULL,
    name TEXT NOT NULL,
    count INTEGER NOT NULL,
    effective_size REAL NOT NULL,
    accuracy REAL NOT NULL,
    baseline_accuracy REAL NOT NULL,
    brier REAL NOT NULL,
    baseline_brier REAL NOT NULL,
    coverage_of_80_band REAL NOT NULL,
    PRIMARY KEY (session_date, grouping, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE forecast_standings (
    session_date TEXT NOT NULL,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    is_demoted INTEGER NOT NULL CHECK (is_demoted IN (0, 1)),
    bad INTEGER NOT NULL,
    good INTEGER NOT NULL,
    cool_down INTEGER NOT NULL,
    reason TEXT NOT NULL,
    complaint TEXT NOT NULL,
    PRIMARY KEY (session_date, source)
) STRICT, WITHOUT ROWID
"""


HEADLINES = """
CREATE TABLE headlines (
    run_id TEXT NOT NULL REFERENCES decisions ON DELETE CASCADE,
    item_id TEXT NOT NULL,
    source TEXT NOT NULL,
    published_at TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    headline TEXT NOT NULL,
    url TEXT NOT NULL,
    symbols TEXT NOT NULL,
    relevance REAL NOT NULL,
    was_altered INTEGER NOT NULL CHECK (was_altered IN (0, 1)),
    PRIMARY KEY (run_id, item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX headlines_by_item ON headlines (item_id, seen_at);
CREATE INDEX headlines_by_time ON headlines (seen_at)
"""


def m0001_event_log(db: "Database") -> None:
    """The log, and who may write it."""
    _script(db, EVENTS)
    _script(db, WRITER)


def m0002_books(db: "Database") -> None:
    """Tables derived from the log: orders, executions, ledger, risk, runs."""
    for statements in (ORDERS, FILLS, LEDGER, RISK, RUNS):
        _script(db, statements)


def m0003_decisions(db: "Database") -> None:
    """What each run saw and wished."""
    _script(db, DECISIONS)


def m0004_service_records(db: "Database") -> None:
    """Records beside the log: they may be pruned, and nothing is rebuilt from them."""
    text = str
    db.table("facts").create(
        {"name": text, "value": text}, pk="name", not_null={"value"}, strict=True
    )
    db.table("incidents").create(
        {"id": int, "at": text, "kind": text, "symbol": text, "text": text},
        pk="id",
        not_null={"at", "kind", "text"},
        strict=True,
    )
    db.table("breakers").create(
        {
            "name": text,
            "state": text,
            "failures": int,
            "opened_at": text,
            "updated_at": text,
            "reason": text,
        },
        pk="name",
        not_null={"state", "failures", "updated_at", "reason"},
        strict=True,
    )
    db.table("costs").create(
        {"id": int, "at": text, "provider": text, "amount_usd": text, "detail": text},
        pk="id",
        not_null={"at", "provider", "amount_usd", "detail"},
        strict=True,
    )
    db.table("costs").create_index(["at"])


def m0005_curves_and_reports(db: "Database") -> None:
    """Points for the plots, and the register of reports."""
    text = str
    db.table("equity").create(
        {"at": text, "session_date": text, "equity": text, "cash": text},
        pk="at",
        not_null={"session_date", "equity", "cash"},
        strict=True,
    )
    db.table("position_points").create(
        {"at": text, "symbol": text, "quantity": text, "price": text},
        pk=("at", "symbol"),
        not_null={"quantity", "price"},
        strict=True,
    )
    db.table("marks").create(
        {"symbol": text, "price": text, "at": text},
        pk="symbol",
        not_null={"price", "at"},
        strict=True,
    )
    db.table("reports").create(
        {
            "session_date": text,
            "revision": int,
            "is_reconciled": int,
            "residual": text,
            "digest": text,
            "created_at": text,
        },
        pk=("session_date", "revision"),
        not_null={"is_reconciled", "residual", "digest", "created_at"},
        strict=True,
    )


def m0006_track_record(db: "Database") -> None:
    """Forecasts as they were locked, what came of them, and where each source stands."""
    _script(db, TRACK_RECORD)


def m0007_headlines(db: "Database") -> None:
    """The headlines that entered a decision."""
    _script(db, HEADLINES)


MIGRATIONS = (
    m0001_event_log,
    m0002_books,
    m0003_decisions,
    m0004_service_records,
    m0005_curves_and_reports,
    m0006_track_record,
    m0007_headlines,
)


def _script(db: "Database", statements: str) -> None:
    # One statement at a time: executescript() would commit the migration's transaction.
    for statement in _split(statements):
        db.execute(statement)


def _split(statements: str) -> list[str]:
    parts: list[str] = []
    pending = ""
    for piece in statements.split(";"):
        pending += piece
        # A trigger's body has semicolons of its own, before END.
        if "CREATE TRIGGER" in pending and not pending.rstrip().endswith("END"):
            pending += ";"
            continue
        parts.append(pending.strip())
        pending = ""
    return parts
