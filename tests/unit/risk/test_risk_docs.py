import dataclasses
from pathlib import Path

from risk.limits import LIMITS
from risk.settings import RiskLimits

TEXT = (Path(__file__).parents[3] / "docs" / "risk.md").read_text(encoding="utf-8")


def test_the_page_names_every_key_with_its_default() -> None:
    for field in dataclasses.fields(RiskLimits):
        default = str(field.default)
        shown = default.lower() if isinstance(field.default, bool) else default
        assert f"| `{field.name}` | {shown} |" in TEXT


def test_the_page_names_every_limit() -> None:
    for limit in LIMITS:
        assert limit.__name__ in TEXT
