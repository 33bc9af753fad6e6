"""An id leaves a second time only by leave of what the broker said or showed (I01)."""

from domain.orders import OrderRequest
from tests.simulation.checkers.evidence import Violations
from tests.simulation.truth import Truth

# An order shows up late; absent so often, over so many seconds, it is not there.
_LOOKS = 3
_SECONDS = 119.0


def had_leave(truth: Truth, request: OrderRequest) -> Violations:
    """I01: who writes an id again was told "not now", or looked for it long enough."""
    name = request.client_order_id
    told = [e for e in truth.log if e[1] in {"wire", "absent", "refused for now"} and e[3] == name]
    writes = [at for at, entry in enumerate(told) if entry[1] == "wire"]
    if len(writes) < 2:
        return []
    # The last one is the write that is judged.
    since = told[writes[-2] + 1 : writes[-1]]
    if any(entry[1] == "refused for now" for entry in since):
        return []
    looks: dict[str, list[float]] = {}
    for at, _, process, _ in since:
        looks.setdefault(process, []).append(at)
    # What a process counted is gone when it dies: each has to look for itself.
    if any(len(seen) >= _LOOKS and seen[-1] - seen[0] >= _SECONDS for seen in looks.values()):
        return []
    return [("I01", f"{name} was written again without evidence that it never arrived")]
