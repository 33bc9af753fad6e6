"""What a reload may change while the daemon runs: limits to stricter ones.

Secrets are read again as well, from where they lie for this process; systemd puts them there
when a unit starts, and at no other time.
"""

import dataclasses
import os
from collections.abc import Collection, Mapping
from typing import Any

from daemon.config import Config
from domain.errors import ConfigError
from risk.settings import RiskLimits

# For these more is stricter; for every other limit less is.
_STRICTER_UP = frozenset(
    {
        "min_confidence",
        "exit_confidence",
        "no_trade_band_pct",
        "min_order_notional_usd",
        "cash_reserve_pct",
        "require_known_volume",
        "earnings_sessions_ahead",
    }
)
# Neither direction is stricter: how the covariance is estimated, and over how long errors are
# counted, since a short window forgets them and a long one thins them out.
_NEUTRAL = frozenset({"covariance_sessions", "order_error_window_seconds"})


def tightened(running: Config, wanted: Config) -> tuple[Config, tuple[str, ...]]:
    """Return the running configuration with the stricter limits of another, and what changed.

    Raises:
        ConfigError: something else differs, or a limit is looser; that needs a restart.
    """
    same = dataclasses.replace(wanted, risk=running.risk)
    if same != running:
        names = [
            field.name
            for field in dataclasses.fields(Config)
            if getattr(same, field.name) != getattr(running, field.name)
        ]
        raise ConfigError(
            f"{', '.join(names)}: a reload tightens [risk] and changes nothing else; restart"
        )
    changed = [
        field.name
        for field in dataclasses.fields(RiskLimits)
        if getattr(wanted.risk, field.name) != getattr(running.risk, field.name)
    ]
    for name in changed:
        before, after = getattr(running.risk, name), getattr(wanted.risk, name)
        if not _is_stricter(name, before, after):
            raise ConfigError(
                f"risk.{name} = {after}: a reload may only tighten risk (it is {before}); restart"
            )
    told = tuple(
        f"{name}: {getattr(running.risk, name)} to {getattr(wanted.risk, name)}" for name in changed
    )
    return wanted, told


def keys_told(
    before: Collection[str], after: Collection[str], environ: Mapping[str, str] = os.environ
) -> str:
    """Return what became of the secrets, for a person who meant to rotate them."""
    if set(before) != set(after):
        return "changed"
    if "CREDENTIALS_DIRECTORY" in environ:
        return "those of the start; for new ones `systemctl restart openbell`"
    return "those of the start; for new ones restart"


def _is_stricter(name: str, before: Any, after: Any) -> bool:
    if name in _NEUTRAL:
        return False
    return bool(after > before if name in _STRICTER_UP else after < before)
