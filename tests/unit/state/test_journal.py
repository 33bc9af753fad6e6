import dataclasses
import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from domain.clock import ManualClock
from domain.decisions import GateResult
from domain.errors import StateError
from domain.ids import BrokerOrderId, ClientOrderId
from domain.orders import OrderState, OrderType
from state.journal import ApplyOutcome, Journal
from state.ledger import FillOutcome, Ledger
from state.order_states import executed, reported
from state.store import Store
from tests.support.state_builders import (
    AAPL,
    SESSION,
    a_broker_order,
    a_fill,
    a_request,
    approved,
    denied,
    open_store,
)

OB1 = ClientOrderId("ob-1")


@pytest.fixture
def planned(journal: Journal) -> Journal:
    journal.record_plan([approved("ob-1")], "2022-12-14-premarket")
    return journal


@pytest.fixture
def sent(planned: Journal) -> Journal:
    planned.mark_sending(OB1)
    return planned


@pytest.fixture
def live(sent: Journal) -> Journal:
    sent.apply_order(a_broker_order())
    return sent


def state_of(journal: Journal) -> OrderState:
    record = journal.get(OB1)
    assert record is not None
    return record.state


def test_plan_keeps_every_answer_with_all_its_checks(journal: Journal, store: Store) -> None:
    sendable = journal.record_plan([approved("ob-1"), denied("ob-2")], "run-1")

    assert sendable == (OB1,)
    assert state_of(journal) is OrderState.APPROVED
    refused = journal.get(ClientOrderId("ob-2"))
    assert refused is not None
    assert (refused.state, refused.reason) == (OrderState.DENIED, "price_collar")
    checks = store.rows("SELECT * FROM limit_checks WHERE client_order_id = 'ob-2'")
    assert [(row["limit"], row["passed"], row["figure"], row["detail"]) for row in checks] == [
        ("max_position_pct", 1, "4.2", ""),
        ("price_collar", 0, "7", "too far"),
    ]


def test_request_comes_back_field_by_field(journal: Journal) -> None:
    limit, market = (
        a_request("ob-1"),
        a_request("ob-2", order_type=OrderType.MARKET, limit_price=None),
    )
    journal.record_plan(
        [
            GateResult(request=limit, checks=approved().checks),
            GateResult(request=market, checks=approved().checks),
        ],
        "run-1",
    )

    records = journal.of_session(SESSION)

    assert [record.request for record in records] == [limit, market]
    assert records[0].run_id == "run-1"
    assert records[0].symbol == AAPL
    assert records[0].leaves_quantity == 100


def test_plan_with_an_id_twice_is_refused(journal: Journal) -> None:
    with pytest.raises(StateError, match="plans an order twice"):
        journal.record_plan([approved("ob-1"), approved("ob-1")], "run")
    assert journal.get(OB1) is None


def test_long_plan_finds_the_checks_of_every_order(journal: Journal, store: Store) -> None:
    results = [(denied if n % 7 == 0 else approved)(f"ob-{n:03d}") for n in range(100)]

    sendable = journal.record_plan(results, "run")

    assert sendable == tuple(f"ob-{n:03d}" for n in range(100) if n % 7)
    rows = store.rows("SELECT client_order_id, count(*) AS n FROM limit_checks GROUP BY 1")
    assert {row["client_order_id"]: row["n"] for row in rows} == {
        f"ob-{n:03d}": 1 if n % 7 else 2 for n in range(100)
    }


def test_result_without_checks_is_not_approved(journal: Journal) -> None:
    assert journal.record_plan([GateResult(request=a_request(), checks=())], "run") == ()
    assert state_of(journal) is OrderState.DENIED


def test_intent_is_planned_anew_until_it_was_sent(journal: Journal) -> None:
    journal.record_plan([denied("ob-1")], "run")

    assert journal.record_plan([approved("ob-1", quantity=Decimal(50))], "run") == (OB1,)
    record = journal.get(OB1)
    assert record is not None
    assert record.request.quantity == 50


@pytest.mark.parametrize("fixture", ["sent", "live"])
def test_intent_that_was_sent_is_never_planned_again(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    journal: Journal = request.getfixturevalue(fixture)
    before = journal.get(OB1)

    assert journal.record_plan([approved("ob-1", quantity=Decimal(50))], "run") == ()
    assert journal.get(OB1) == before


def test_only_planned_orders_are_sent(journal: Journal) -> None:
    journal.record_plan([approved("ob-1"), denied("ob-2")], "run")

    for order_ids in ((ClientOrderId("ob-2"),), (ClientOrderId("nobody"),)):
        with pytest.raises(StateError, match="may not be sent"):
            journal.mark_sending(OB1, *order_ids)
    assert state_of(journal) is OrderState.APPROVED


def test_sending_is_durable_and_counted(planned: Journal, clock: ManualClock) -> None:
    clock.advance(dt.timedelta(seconds=5))
    planned.mark_sending(OB1)
    planned.mark_unknown(OB1, "timeout")
    planned.mark_sending(OB1)

    record = planned.get(OB1)
    assert record is not None
    assert (record.state, record.attempts, record.sent_at) == (OrderState.SENDING, 2, clock.now())


def test_sending_nothing_writes_nothing(planned: Journal, store: Store) -> None:
    before = store.rows("SELECT max(seq) FROM events")[0][0]
    planned.mark_sending()

    assert store.rows("SELECT max(seq) FROM events")[0][0] == before


def test_live_order_is_not_sent_again(live: Journal) -> None:
    with pytest.raises(StateError, match="is live"):
        live.mark_sending(OB1)


def test_unknown_keeps_its_reservation_and_never_hides_better_evidence(sent: Journal) -> None:
    assert sent.mark_unknown(OB1, "timeout")
    assert [record.client_order_id for record in sent.working()] == [OB1]
    sent.apply_order(a_broker_order())

    assert not sent.mark_unknown(OB1, "late timeout")
    assert state_of(sent) is OrderState.LIVE


def test_refusal_of_a_send_is_final_unless_the_broker_shows_the_order(sent: Journal) -> None:
    assert sent.mark_rejected(OB1, "403 insufficient buying power")
    assert sent.working() == ()

    assert sent.apply_order(a_broker_order()) is ApplyOutcome.CHANGED
    assert state_of(sent) is OrderState.LIVE
    assert not sent.mark_rejected(OB1, "again")


def test_request_that_was_never_taken_may_go_again(sent: Journal) -> None:
    assert sent.mark_not_sent(OB1, "429, nothing was taken")
    assert state_of(sent) is OrderState.APPROVED
    assert not sent.mark_not_sent(OB1, "twice")


def test_skipped_only_before_it_was_sent(planned: Journal) -> None:
    assert planned.mark_skipped(OB1, "past the cut-off")
    assert planned.working() == ()
    assert not planned.mark_skipped(OB1, "again")


def test_abandoned_order_is_still_counted_until_its_session_ends(sent: Journal) -> None:
    sent.mark_unknown(OB1, "timeout")
    assert sent.mark_abandoned(OB1, "absent on 3 reads over 120 s")
    assert [record.state for record in sent.working()] == [OrderState.ABANDONED]

    assert sent.mark_expired(OB1, "session closed")
    assert sent.working() == ()
    assert not sent.mark_expired(OB1, "again")


def test_abandoned_order_that_turns_up_is_live(sent: Journal) -> None:
    sent.mark_abandoned(OB1)
    sent.apply_order(a_broker_order())

    assert state_of(sent) is OrderState.LIVE


def test_report_from_before_a_cancel_request_does_not_undo_it(live: Journal) -> None:
    assert live.mark_canceling(OB1)
    assert not live.mark_canceling(OB1)
    live.apply_order(a_broker_order(raw_status="accepted"))
    assert state_of(live) is OrderState.CANCELING


def test_same_report_twice_changes_nothing(live: Journal, store: Store) -> None:
    before = store.rows("SELECT max(seq) FROM events")[0][0]

    assert live.apply_order(a_broker_order()) is ApplyOutcome.UNCHANGED
    assert store.rows("SELECT max(seq) FROM events")[0][0] == before


def test_filled_quantity_never_falls(live: Journal) -> None:
    live.apply_order(a_broker_order(filled_quantity=Decimal(60), raw_status="partially_filled"))
    live.apply_order(a_broker_order(filled_quantity=Decimal(20), raw_status="stale"))

    record = live.get(OB1)
    assert record is not None
    assert (record.filled_quantity, record.raw_status) == (60, "partially_filled")


def test_terminal_state_never_regresses(live: Journal) -> None:
    live.apply_order(a_broker_order(state=OrderState.CANCELED, raw_status="canceled"))
    live.apply_order(a_broker_order(state=OrderState.LIVE, raw_status="new"))

    assert state_of(live) is OrderState.CANCELED


def test_unknown_order_of_the_broker_is_told_apart(journal: Journal) -> None:
    assert journal.apply_order(a_broker_order("stranger")) is ApplyOutcome.NOT_OURS


def test_second_order_under_our_id_is_told_and_changes_nothing(live: Journal) -> None:
    before = live.get(OB1)
    twin = a_broker_order(broker_order_id=BrokerOrderId("twin"), state=OrderState.FILLED)

    assert live.apply_order(twin) is ApplyOutcome.TWIN
    assert live.get(OB1) == before


def test_executions_that_the_ledger_lacks_are_found(live: Journal, ledger: Ledger) -> None:
    live.apply_order(
        a_broker_order(
            filled_quantity=Decimal(60),
            filled_avg_price=Decimal("143.15"),
            raw_status="partially_filled",
        )
    )
    assert [record.missing_quantity for record in live.incomplete()] == [60]
    assert live.incomplete()[0].filled_avg_price == Decimal("143.15")

    ledger.apply_fill(a_fill(quantity="60"), origin="activities")
    assert live.incomplete() == ()


def test_average_price_is_that_of_the_booked_executions(live: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill("x-1", quantity="1", price="143.10"), origin="stream")
    ledger.apply_fill(a_fill("x-2", quantity="2", price="143.20", cumulative="3"), origin="stream")

    record = live.get(OB1)
    assert record is not None
    assert record.filled_avg_price == Decimal("143.166667")


def test_external_order_is_adopted_once_and_counts(journal: Journal) -> None:
    order = a_broker_order("web-1", order_type="stop_limit", time_in_force="gtc")

    assert journal.adopt_external(order)
    assert not journal.adopt_external(order)
    record = journal.get(ClientOrderId("web-1"))
    assert record is not None
    assert (record.is_external, record.state, record.request.strategy) == (
        True,
        OrderState.LIVE,
        "external",
    )
    assert journal.working() == (record,)
    assert journal.apply_order(order) is ApplyOutcome.UNCHANGED


def test_external_market_order_has_no_price_of_ours(journal: Journal) -> None:
    journal.adopt_external(a_broker_order("web-1", order_type="market", limit_price=None))

    record = journal.get(ClientOrderId("web-1"))
    assert record is not None
    assert record.request.worst_price == 0


def test_an_order_of_another_for_an_amount_of_money_leaves_the_journal_readable(
    journal: Journal, ledger: Ledger
) -> None:
    by_amount = a_broker_order("web-1", quantity=Decimal(0), order_type="market", limit_price=None)
    journal.adopt_external(by_amount)

    (record,) = journal.working()
    assert record.is_unsized
    assert record.leaves_quantity == 0

    web = ClientOrderId("web-1")
    part = {"broker_order_id": BrokerOrderId("b-web-1"), "client_order_id": web}
    first = ledger.apply_fill(a_fill("x-1", "2", **part), origin="stream")
    working = journal.get(web)
    second = ledger.apply_fill(a_fill("x-2", "1", cumulative="3", **part), origin="stream")
    journal.apply_order(
        dataclasses.replace(by_amount, state=OrderState.FILLED, filled_quantity=Decimal(3))
    )

    assert {first, second} == {FillOutcome.NEW}
    assert ledger.locks() == {}
    assert working is not None
    assert working.state is OrderState.LIVE
    assert journal.working() == ()
    assert journal.incomplete() == ()


@pytest.mark.parametrize("limit", ["0", "-0.5"])
def test_a_limit_of_another_that_none_of_ours_could_have_leaves_the_journal_readable(
    journal: Journal, limit: str
) -> None:
    journal.adopt_external(a_broker_order("web-1", limit_price=Decimal(limit)))

    (record,) = journal.working()
    assert record.is_external


def test_executions_before_the_adoption_are_counted(journal: Journal, ledger: Ledger) -> None:
    ledger.apply_fill(a_fill(quantity="60"), origin="stream")
    journal.adopt_external(a_broker_order(filled_quantity=Decimal(60)))

    record = journal.get(OB1)
    assert record is not None
    assert (record.booked_quantity, record.missing_quantity) == (60, 0)


def test_unknown_order_is_none(journal: Journal) -> None:
    assert journal.get(OB1) is None


def test_everything_survives_a_restart(directory: Path) -> None:
    store = open_store(directory)
    Journal(store).record_plan([approved("ob-1")], "run")
    Journal(store).mark_sending(OB1)
    before = Journal(store).get(OB1)
    store.close()

    again = open_store(directory)
    assert Journal(again).get(OB1) == before
    again.close()


@pytest.mark.parametrize("current", list(OrderState))
@pytest.mark.parametrize("told", [OrderState.LIVE, OrderState.FILLED, OrderState.CANCELED])
@pytest.mark.parametrize("has_broker_id", [True, False])
def test_reported_state_never_forgets_a_confirmed_end(
    current: OrderState, told: OrderState, has_broker_id: bool
) -> None:
    after = reported(current, told, has_broker_id=has_broker_id)

    if told is OrderState.FILLED:
        assert after is OrderState.FILLED
    elif (
        current.is_terminal
        and has_broker_id
        and current
        not in {
            OrderState.DENIED,
            OrderState.SKIPPED,
        }
    ):
        assert after is current
    else:
        assert after in {told, current}
    assert after is not OrderState.UNKNOWN


@pytest.mark.parametrize("current", list(OrderState))
def test_execution_proves_that_the_broker_has_the_order(current: OrderState) -> None:
    assert executed(current, is_complete=True, has_broker_id=True) is OrderState.FILLED
    after = executed(current, is_complete=False, has_broker_id=False)
    assert after not in {OrderState.UNKNOWN, OrderState.SENDING, OrderState.DENIED}
