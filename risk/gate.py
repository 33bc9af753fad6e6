"""The gate: every limit runs, every answer is kept, and all of them must pass."""

from collections.abc import Iterable, Sequence

from domain.decisions import GateResult, LimitCheck
from domain.orders import OrderRequest
from risk.context import GateContext
from risk.limits import LIMITS, Limit


def check(
    request: OrderRequest, context: GateContext, *, limits: Sequence[Limit] = LIMITS
) -> GateResult:
    """Ask every limit about one order."""
    return GateResult(
        request=request, checks=tuple(_ask(limit, request, context) for limit in limits)
    )


def check_batch(
    requests: Iterable[OrderRequest], context: GateContext
) -> tuple[tuple[GateResult, ...], GateContext]:
    """Ask about orders one after the other, each approved one reserving its worst case.

    Returns:
        The answers in the order of the requests, and the context after them: use it for
        the next question of the same run.
    """
    results: list[GateResult] = []
    for request in requests:
        result = check(request, context)
        results.append(result)
        if result.is_approved:
            context = context.after(request)
    return tuple(results), context


def _ask(limit: Limit, request: OrderRequest, context: GateContext) -> LimitCheck:
    try:
        return limit(request, context)
    except ArithmeticError as exc:
        # NaN refuses to be ordered; whatever cannot be compared has not passed.
        name, why = getattr(limit, "__name__", "limit"), type(exc).__name__
        return LimitCheck(
            limit=name, passed=False, figure="unknown", bound="comparable", detail=why
        )
