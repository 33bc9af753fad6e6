"""Cash that the broker has and the books lack, from look to look.

Equity and the flow that explains it are read one after the other, and some flows are posted
later.  What no booked flow explains must neither count as a gain, nor raise the high-water
mark, which gets the flow when it is booked.
"""

from dataclasses import dataclass
from decimal import Decimal

from domain.money import ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class UnnamedCash:
    """The broker's cash less the books at one look, and at the look before it, USD.

    ``residual`` is all of it; ``unnamed`` is what of it no flow explains, since executions
    that the books lack move cash too.
    """

    residual: Decimal = ZERO
    unnamed: Decimal = ZERO
    residual_before: Decimal = ZERO
    unnamed_before: Decimal = ZERO

    def then(
        self, residual: Decimal, unnamed: Decimal | None, *, is_named: bool = False
    ) -> "UnnamedCash":
        """Return what the next look shows.

        Args:
            residual: the broker's cash less the books.
            unnamed: what of it no flow explains; None where this look cannot tell, and what
                the one before could not explain stays so, as far as it is still there.
            is_named: whether a flow was booked since: what is there now is something else.
        """
        if unnamed is None:
            is_there = self.unnamed * residual > 0 and not is_named
            unnamed = min(self.unnamed, residual, key=abs) if is_there else ZERO
        return UnnamedCash(
            residual=residual,
            unnamed=unnamed,
            residual_before=self.residual,
            unnamed_before=self.unnamed,
        )

    @property
    def is_settled(self) -> bool:
        """True where books and broker agree, or differ as they did at the look before.

        One list that was wrong can look equal, and its cash as if money had moved.
        """
        return self.residual in {ZERO, self.residual_before}

    @property
    def has_fallen(self) -> bool:
        """True when more of it went, or less of it came, than at the look before."""
        return self.residual < self.residual_before

    @property
    def may_raise_mark(self) -> bool:
        """True where equity, so named, holds nothing of it and nothing that is only expected."""
        return self.is_settled and self._taken >= max(self.residual, ZERO)

    def named(self, equity: Decimal) -> Decimal:
        """Return equity without it, to judge and to record.

        Once a second look shows it too, cash that no booked flow explains is no gain, and
        what is missing is a loss.
        """
        return equity - self._taken

    @property
    def _taken(self) -> Decimal:
        if self.unnamed > 0:
            return min(self.unnamed, max(self.unnamed_before, ZERO))
        return min(self.unnamed - min(self.unnamed_before, ZERO), ZERO)
