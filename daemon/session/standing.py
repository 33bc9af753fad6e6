"""Where the account stands when the gate is asked."""

from daemon.session.monitor import Judged
from domain.errors import ProviderUnavailable
from domain.market import Session
from execution.context import Standing
from execution.desk import Desk
from risk.context import OrderWindow


def standing_of(desk: Desk, judged: Judged, session: Session, window: OrderWindow) -> Standing:
    """Freeze the account as it was judged, beside latch and trading state as they are now.

    Raises:
        ProviderUnavailable: the account could not be read.
    """
    if judged.account is None:
        raise ProviderUnavailable("the account could not be read; no order was sent")
    return Standing(
        now=desk.clock.now(),
        session=session,
        window=window,
        trading_state=desk.effective_state(),
        trading_state_reason=desk.only_exits() or judged.reason,
        is_latch_engaged=desk.latch.read().is_engaged,
        account=judged.account,
        account_at=judged.at,
        assessment=judged.assessment,
    )
