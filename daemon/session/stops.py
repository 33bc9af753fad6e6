"""Protective stops, kept by us: at each look, close what fell too far."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import structlog

from daemon.session.monitor import Judged
from daemon.session.refused_exits import held_back_exits
from daemon.session.stop_gate import StopGate
from daemon.session.stop_tracks import StopTracks
from domain.account import Account, Asset, Position
from domain.decisions import GateResult
from domain.errors import AuthRefused, BrokerUnavailable
from domain.ids import Symbol
from domain.market import MarketView, Session
from domain.money import text as text_of
from execution.desk import Desk
from execution.orders import OrderPath
from marketdata.board import MarketBoard
from risk.book import MIN_PRICE, Book
from risk.context import is_known
from risk.limits import UNKNOWN
from risk.settings import RiskLimits
from risk.sizing import EXIT
from risk.stops import WATCH_RUN, Track, followed, stops_reached
from state.rows import OrderRecord

NO_STOP = Decimal(100)
# An exit that found no buyer within it is canceled and priced anew.
_PATIENCE = dt.timedelta(seconds=60)


class Stops:
    """Looks at the holdings between the open and the close."""

    def __init__(
        self,
        desk: Desk,
        path: OrderPath,
        limits: RiskLimits,
        *,
        board: MarketBoard | None = None,
    ) -> None:
        self._desk = desk
        self._path = path
        self._limits = limits
        self._board = board
        self._gate = StopGate(desk, limits)
        self._tracks = StopTracks(desk.store)
        self._log = structlog.get_logger("stops")
        self._assets: dict[Symbol, Asset] = {}
        self._told: set[tuple[dt.date, Symbol, str, str]] = set()
        self._in_doubt: frozenset[Symbol] = frozenset()

    async def look(self, session: Session, judged: Judged) -> None:
        """Close what reached its stop; without an account or prices nothing is sold."""
        now = self._desk.clock.now()
        if judged.account is None or not session.open <= now <= session.close:
            return
        if min(self._limits.stop_loss_pct, self._limits.trailing_stop_pct) >= NO_STOP:
            return
        try:
            theirs = judged.held
            if theirs is None:
                theirs = await self._desk.broker.positions()
            self._tell_in_doubt(theirs, session)
            held = self._agreed(theirs)
            tracks = self._follow(held, session)
            view = _view(session, judged.account, held, now)
            reached = stops_reached(Book(view=view, limits=self._limits), tracks)
            reached = self._not_refused(reached, session)
            if not reached:
                return
            view = await self._ready_to_close(reached, view, judged)
        except (BrokerUnavailable, AuthRefused) as exc:
            self._log.warning("stops.unread", reason=str(exc))
            return
        reached = self._still_reached(reached, held, view)
        await self._send(self._gate.ask(reached, view, judged), session)

    async def _held(self) -> dict[Symbol, Position]:
        return self._agreed(await self._desk.broker.positions())

    def _agreed(self, theirs: Sequence[Position]) -> dict[Symbol, Position]:
        """What both books hold alike: the rest is in dispute and not ours to sell unasked."""
        ours = self._desk.ledger.positions()
        doubts = self._doubts()
        unbooked = {record.symbol for record in self._desk.journal.incomplete()}
        return {
            position.symbol: self._priced(position)
            for position in theirs
            if position.symbol in ours
            and ours[position.symbol].quantity == position.quantity
            and position.symbol not in doubts
            and position.symbol not in unbooked
        }

    def _doubts(self) -> Mapping[Symbol, str]:
        """What the market as heard has against a sale."""
        return self._board.doubts() if self._board is not None else {}

    def _priced(self, position: Position) -> Position:
        """The market as heard is younger than the price that the broker keeps."""
        heard = self._board.last_price(position.symbol) if self._board is not None else None
        return position if heard is None else dataclasses.replace(position, market_price=heard)

    def _follow(self, held: Mapping[Symbol, Position], session: Session) -> dict[Symbol, Track]:
        before, ours = self._tracks.load(), self._desk.ledger.positions()
        tracks: dict[Symbol, Track] = {}
        for symbol, position in sorted(held.items()):
            price, cost = position.market_price, ours[symbol].avg_price
            if not is_known(cost):
                self._tell_unwatched("average cost", cost, symbol, session)
            elif price is None or not is_known(price) or price < MIN_PRICE:
                self._tell_unwatched("price", price, symbol, session)
            else:
                tracks[symbol] = track = followed(
                    before.get(symbol), held=position.quantity, cost=cost, price=price
                )
                if track.is_doubtful:
                    text = f"{symbol}: {price} is far from {track.last}; a split? nothing is sold"
                    self._tell("stop.doubtful", text, symbol, session)
        # What is in dispute for a while, or not listed, is still held and keeps its best price.
        kept = {symbol: track for symbol, track in before.items() if symbol in ours}
        self._tracks.save({**kept, **tracks})
        return tracks

    def _not_refused(self, reached: Mapping[Symbol, str], session: Session) -> dict[Symbol, str]:
        """Leave out what the broker refused of late; by the journal, also over a restart."""
        if not reached:
            return {}
        orders = self._desk.journal.of_session(session.date)
        held_back = held_back_exits(orders, self._desk.clock.now())
        return {symbol: why for symbol, why in reached.items() if symbol not in held_back}

    def _still_reached(
        self, reached: Mapping[Symbol, str], before: Mapping[Symbol, Position], view: MarketView
    ) -> dict[Symbol, str]:
        """A purchase that filled before it was canceled changed the cost: it is judged anew."""
        now = view.positions
        tracks = self._follow(now, view.session)
        again = stops_reached(Book(view=view, limits=self._limits), tracks)
        return {
            symbol: again.get(symbol, why)
            for symbol, why in reached.items()
            if symbol in again
            or (symbol in now and abs(now[symbol].quantity) <= abs(before[symbol].quantity))
        }

    async def _clear_the_way(
        self, reached: Mapping[Symbol, str], view: MarketView, judged: Judged
    ) -> None:
        """A sale may meet neither our own purchase nor an exit that found no buyer in time."""
        ours = [
            record
            for record in self._desk.journal.working()
            if record.symbol in reached and not record.is_external
        ]
        purchases = [record for record in ours if record.request.leg != EXIT]
        late = self._replaceable(self._late(ours, view.session), reached, view, judged)
        in_the_way = [record.client_order_id for record in (*purchases, *late)]
        await self._path.cancel_many(in_the_way, "the symbol reached its stop")

    def _late(self, records: Iterable[OrderRecord], session: Session) -> list[OrderRecord]:
        before = self._desk.clock.now() - _PATIENCE
        return [
            record
            for record in records
            if record.request.leg == EXIT and max(record.created_at, session.open) < before
        ]

    def _replaceable(
        self,
        late: Sequence[OrderRecord],
        reached: Mapping[Symbol, str],
        view: MarketView,
        judged: Judged,
    ) -> list[OrderRecord]:
        """An exit at an old price is better than none: it works until another may follow."""
        results = self._gate.ask(reached, view, judged, without=late) if late else ()
        may_follow = {result.request.symbol for result in results if result.is_approved}
        left = {record.symbol for record in late} - may_follow
        for result in results:
            if result.request.symbol in left:
                self._tell_denied(result, "its exit stays as it was priced", view.session)
        return [record for record in late if record.symbol in may_follow]

    async def _ready_to_close(
        self, reached: Mapping[Symbol, str], view: MarketView, judged: Judged
    ) -> MarketView:
        await self._read_assets(reached)
        view = dataclasses.replace(view, assets=self._assets)
        await self._clear_the_way(reached, view, judged)
        # What was in the way may have filled before it was canceled.
        held = await self._held()
        return dataclasses.replace(view, as_of=self._desk.clock.now(), positions=held)

    async def _read_assets(self, symbols: Iterable[Symbol]) -> None:
        """What may be traded changes seldom: while nobody tells, what was last told holds.

        Of what was never told, a holding counts as tradable: if it is not, the broker says so.
        """
        asked = sorted(symbols)
        try:
            told = await self._desk.broker.assets(asked)
        except BrokerUnavailable as exc:
            self._log.warning("assets.unread", reason=str(exc))
            self._assets = {symbol: _tradable(symbol) for symbol in asked} | self._assets
            return
        kept = {symbol: asset for symbol, asset in self._assets.items() if symbol not in asked}
        self._assets = {**kept, **told}

    async def _send(self, results: Sequence[GateResult], session: Session) -> None:
        for result in results:
            request = result.request
            if result.is_approved:
                text = f"{request.symbol}: {request.reason}"
                self._tell("stop.reached", text, request.symbol, session)
            else:
                self._tell_denied(result, "nothing sells it", session)
        approved = [result for result in results if result.is_approved]
        if approved:
            await self._path.send(approved, f"{session.date}-{WATCH_RUN}", cutoff=session.close)

    def _tell_denied(self, result: GateResult, what: str, session: Session) -> None:
        request, why = result.request, ", ".join(result.reasons)
        text = f"{request.symbol}: {request.reason}; {what}, denied by {why}"
        self._tell("stop.denied", text, request.symbol, session, about=why)

    def _tell_in_doubt(self, theirs: Sequence[Position], session: Session) -> None:
        """What is in doubt from one look to the next has no stop; what passes is no news."""
        ours, doubts = self._desk.ledger.positions(), self._doubts()
        held = {position.symbol for position in theirs if position.symbol in ours}
        for symbol in sorted(held & self._in_doubt & doubts.keys()):
            text = f"{symbol}: {doubts[symbol]}; no stop sells it meanwhile, watch it yourself"
            self._tell("stop.doubtful", text, symbol, session, about=doubts[symbol])
        self._in_doubt = frozenset(held & doubts.keys())

    def _tell_unwatched(
        self, what: str, figure: Decimal | None, symbol: Symbol, session: Session
    ) -> None:
        shown = UNKNOWN if figure is None else text_of(figure)
        text = f"{symbol}: its {what} is {shown}, so no stop watches it; watch it yourself"
        self._tell("stop.unwatched", text, symbol, session)

    def _tell(
        self, kind: str, text: str, symbol: Symbol, session: Session, *, about: str = ""
    ) -> None:
        """Once a session and symbol: what was told is no news 30 seconds later."""
        key = (session.date, symbol, kind, about)
        if key not in self._told:
            self._told.add(key)
            self._desk.note(kind, text, symbol)


def _tradable(symbol: Symbol) -> Asset:
    return Asset(symbol=symbol, is_tradable=True, is_shortable=False, is_fractionable=False)


def _view(
    session: Session, account: Account, held: Mapping[Symbol, Position], now: dt.datetime
) -> MarketView:
    """What a stop may know: what both books hold, and the broker's prices."""
    return MarketView(
        as_of=now,
        session=session,
        account=account,
        history={},
        forecasts={},
        sentiment={},
        positions=held,
        assets={},
    )
