"""Target positions: what each symbol should be held at, in whole shares.

Rule for a symbol that is held:

- BUY or SELL in its direction: towards the Kelly target; a degraded source keeps what is
  held rather than cut it.
- BUY or SELL against it: exit all of it; the other side may be entered in a later run.
- HOLD: keep it while its direction is at least ``exit_confidence`` likely, else exit.
- No opinion, or data missing: keep it.

A position is entered on BUY (or SELL, where shorts are allowed) at ``min_confidence``, with
a known price and a forecast source.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from domain.decisions import CombinedSignal
from domain.errors import SizingError
from domain.ids import Symbol
from domain.money import ZERO, whole_shares
from domain.numbers import told_apart
from domain.orders import Side
from domain.signals import Action
from risk import reservations as worst
from risk.book import HUNDRED, Book, limit_price, to_decimal
from risk.context import is_known
from risk.reservations import Reservation
from risk.weights import Candidate, Weight, Weights, kelly_weights

CUT_FOR_SOURCE = "cut for a degraded source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Shares wanted, signed, the weight they come from, and why if that needs saying."""

    symbol: Symbol
    quantity: Decimal
    weight: float
    remark: str


def target_positions(book: Book, combined: Sequence[CombinedSignal]) -> dict[Symbol, Target]:
    """Return the target of every symbol that has a combined signal.

    Raises:
        SizingError: a symbol has two combined signals.
    """
    signals = {signal.symbol: signal for signal in combined}
    if len(signals) != len(combined):
        raise SizingError("a symbol has two combined signals")
    candidates, refused = _candidates(book, signals)
    weights = _weights(book, candidates)
    targets = {
        symbol: _target(book, signals[symbol], weights, refused) for symbol in sorted(signals)
    }
    targets = _within_budget(book, targets)
    return {
        symbol: _from_this_source(book, target, weights.by_symbol.get(symbol))
        for symbol, target in targets.items()
    }


def _wished_sign(book: Book, signal: CombinedSignal) -> int:
    """Direction in which the symbol may be held on this signal; 0 for none."""
    if not book.limits.min_confidence <= signal.confidence <= 1:
        return 0
    held = book.held(signal.symbol)
    if signal.action is Action.BUY and held >= 0:
        return 1
    if signal.action is Action.SELL and held <= 0 and book.limits.allow_short:
        return -1
    return 0


def _obstacle(book: Book, symbol: Symbol, sign: int) -> str:
    """Tell why the broker would not take it.

    What it does not trade must not take room from what it does, and a short sale that it
    refuses must not be the hedge for which something else is held larger.
    """
    asset = book.view.assets.get(symbol)
    if asset is None or not asset.is_tradable:
        return "the broker does not trade it"
    if sign < 0 and book.held(symbol) >= 0 and not asset.is_shortable:
        return "the broker does not lend it"
    return ""


def _candidates(
    book: Book, signals: Mapping[Symbol, CombinedSignal]
) -> tuple[list[Candidate], dict[Symbol, str]]:
    """Symbols to size, and those that cannot be, with the reason."""
    candidates: list[Candidate] = []
    refused: dict[Symbol, str] = {}
    for symbol, signal in sorted(signals.items()):
        sign = _wished_sign(book, signal)
        if sign == 0:
            continue
        if obstacle := _obstacle(book, symbol, sign):
            refused[symbol] = f"no entry: {obstacle}"
            continue
        if book.price(symbol) is None or not is_known(book.view.account.equity):
            refused[symbol] = "no entry: price or equity is unknown"
            continue
        try:
            candidates.append(_candidate(book, signal, sign))
        except SizingError as exc:
            refused[symbol] = f"no entry: {exc}"
    return candidates, refused


def _candidate(book: Book, signal: CombinedSignal, sign: int) -> Candidate:
    return Candidate(
        symbol=signal.symbol,
        sign=sign,
        mean=signal.expected_return / signal.horizon,
        volatility=signal.volatility / math.sqrt(signal.horizon),
        tilt=signal.sentiment_tilt,
        source_factor=book.source_factor(signal.symbol),
    )


def _kept(book: Book, candidates: set[Symbol]) -> tuple[float, float] | None:
    """Gross and net share of equity of everything that is not a candidate, at its worst.

    None when a held or ordered symbol has no price: then nothing may be added.
    """
    bounds = book.bounds()
    equity = book.view.account.equity
    if bounds is None or not is_known(equity):
        return None
    others = {symbol: bound for symbol, bound in bounds.items() if symbol not in candidates}
    highest = sum((bound.highest for bound in others.values()), ZERO)
    return float(worst.gross(others) / equity), float(highest / equity)


def _weights(book: Book, candidates: list[Candidate]) -> Weights:
    symbols = {candidate.symbol for candidate in candidates}
    kept = _kept(book, symbols)
    if kept is None:
        return _no_weights(symbols, "a held or ordered symbol has no price")
    gross, net = kept
    try:
        return kelly_weights(
            candidates, book.view.history, book.limits, kept_gross=gross, kept_net=net
        )
    except SizingError as exc:
        # Exits need no weights, so they go on.
        return _no_weights(symbols, str(exc))


def _no_weights(symbols: set[Symbol], reason: str) -> Weights:
    return Weights(by_symbol={}, left_out=dict.fromkeys(symbols, f"no entry: {reason}"))


def _target(
    book: Book, signal: CombinedSignal, weights: Weights, refused: Mapping[Symbol, str]
) -> Target:
    symbol, held = signal.symbol, book.held(signal.symbol)
    weight, price = weights.by_symbol.get(symbol), book.price(symbol)
    if weight is not None and price is not None:
        return _weighted_target(book, symbol, weight, price)
    reason = refused.get(symbol) or weights.left_out.get(symbol)
    if reason or held == 0:
        return _keep(symbol, held, reason or "")
    is_against = signal.action is not Action.HOLD and (signal.action is Action.BUY) == (held < 0)
    if is_against:
        return _exit(symbol, f"{signal.action.value} against the position")
    return _held_target(book, signal)


def _held_target(book: Book, signal: CombinedSignal) -> Target:
    held = book.held(signal.symbol)
    has_lean = math.isfinite(signal.confidence) and abs(signal.expected_return) > 0
    if not (has_lean and signal.volatility > 0):
        return _keep(signal.symbol, held, "no opinion: position kept")
    leans_with_it = (signal.expected_return > 0) == (held > 0)
    likely = signal.confidence if leans_with_it else 1 - signal.confidence
    if not likely >= book.limits.exit_confidence:
        known, bound = told_apart(likely, book.limits.exit_confidence)
        return _exit(signal.symbol, f"its direction is only {known} likely, exit below {bound}")
    return _keep(signal.symbol, held, f"its direction is {likely:.2f} likely: position kept")


def _weighted_target(book: Book, symbol: Symbol, weight: Weight, price: Decimal) -> Target:
    held, shares = book.held(symbol), _shares(book, price, weight.full)
    sign = 1 if weight.full >= 0 else -1
    if abs(held) < shares.entering:
        quantity, remark = sign * shares.entering, ""
    elif abs(held) > shares.leaving:
        quantity, remark = sign * shares.leaving, "above its Kelly target"
    else:
        quantity, remark = held, "at its target"
    return Target(symbol=symbol, quantity=quantity, weight=weight.allowed, remark=remark)


def _from_this_source(book: Book, target: Target, weight: Weight | None) -> Target:
    """Cut what a degraded source would add; it never cuts what is held.

    Last of all steps, so that room it leaves is not handed to another symbol and the
    result is at most what the healthy source would have got.
    """
    held, price = book.held(target.symbol), book.price(target.symbol)
    if weight is None or price is None or abs(target.quantity) <= abs(held):
        return target
    if weight.allowed == weight.full:
        return target
    allowed = _shares(book, price, weight.allowed).entering
    most = min(abs(target.quantity), max(abs(held), allowed))
    sign = 1 if target.quantity > 0 else -1
    return dataclasses.replace(target, quantity=sign * most, remark=CUT_FOR_SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shares:
    """Whole shares of a weight at the worst entry price, and at the decision price."""

    entering: Decimal
    leaving: Decimal


def _shares(book: Book, price: Decimal, weight: float) -> _Shares:
    notional = abs(to_decimal(weight, "weight")) * book.view.account.equity
    side = Side.BUY if weight >= 0 else Side.SELL
    worst_price = max(price, limit_price(price, side, book.limits.price_collar_pct))
    return _Shares(
        entering=whole_shares(notional / worst_price), leaving=whole_shares(notional / price)
    )


def _keep(symbol: Symbol, held: Decimal, remark: str) -> Target:
    return Target(symbol=symbol, quantity=held, weight=0.0, remark=remark)


def _exit(symbol: Symbol, remark: str) -> Target:
    return Target(symbol=symbol, quantity=ZERO, weight=0.0, remark=remark)


def _within_budget(book: Book, targets: Mapping[Symbol, Target]) -> dict[Symbol, Target]:
    """Scale all additions alike to what gross, net, day and buying power still leave."""
    added = {symbol: _added(book, target) for symbol, target in targets.items()}
    total = sum(added.values(), ZERO)
    budget = _budget(book)
    if total == 0 or total <= budget:
        return dict(targets)
    scale = max(ZERO, budget) / total
    return {
        symbol: target if added[symbol] == 0 else _scaled(book, target, scale)
        for symbol, target in targets.items()
    }


def _added(book: Book, target: Target) -> Decimal:
    held = book.held(target.symbol)
    price = book.price(target.symbol)
    more = abs(target.quantity) - abs(held)
    if more <= 0 or target.quantity * held < 0 or price is None:
        return ZERO
    side = Side.BUY if target.quantity > 0 else Side.SELL
    return more * max(price, limit_price(price, side, book.limits.price_collar_pct))


def _budget(book: Book) -> Decimal:
    bounds, account, limits = book.bounds(), book.view.account, book.limits
    if bounds is None or not is_known(account.equity) or not account.buying_power.is_finite():
        return ZERO
    reserved = sum((r.quantity * _reserved_price(book, r) for r in book.reservations), ZERO)
    return min(
        limits.max_gross_pct * account.equity / HUNDRED - worst.gross(bounds),
        limits.max_net_pct * account.equity / HUNDRED - worst.net(bounds),
        account.buying_power * (HUNDRED - limits.cash_reserve_pct) / HUNDRED - reserved,
        limits.max_notional_per_day_usd - book.opened_notional_today,
    )


def _reserved_price(book: Book, reserved: Reservation) -> Decimal:
    # A bound of the whole book exists only if each ordered symbol has a price.
    price = reserved.price if reserved.price is not None else book.price(reserved.symbol)
    return price if price is not None else Decimal("Infinity")


def _scaled(book: Book, target: Target, scale: Decimal) -> Target:
    held = book.held(target.symbol)
    quantity = held + whole_shares((target.quantity - held) * scale)
    return dataclasses.replace(target, quantity=quantity, remark="scaled to the room left")
