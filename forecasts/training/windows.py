"""Spans that end where the data ends, for training anew with later prices."""

import datetime as dt

from domain.errors import DataError
from forecasts.training.config import Spans
from forecasts.training.dataset import Panel

# As in the default spans: enough to tell a lucky stop from a good one, and to calibrate.
_VALIDATION = dt.timedelta(days=3 * 365)
_CALIBRATION = dt.timedelta(days=1246)
_LONG_HISTORY = dt.timedelta(days=12 * 365)
_SHORTEST = dt.timedelta(days=2 * 365)


def spans_until(panel: Panel, end: dt.date) -> Spans:
    """Return spans over the history of a panel before ``end``.

    A history of twelve years and more is stopped and calibrated on as long as the shipped
    models were; half of a shorter one is fitted to, a quarter each for the rest.

    Raises:
        DataError: less than two years.
    """
    firsts = [columns.dates[0].item() for columns in panel.values() if columns.dates.size]
    first: dt.date = min(firsts, default=end)
    length = end - first
    if length < _SHORTEST:
        raise DataError(
            f"training needs two years of bars and the history before {end} begins on {first}; "
            "run `openbell fetch --from 1995-01-01`"
        )
    if length >= _LONG_HISTORY:
        validation, calibration = _VALIDATION, _CALIBRATION
    else:
        validation = calibration = length / 4
    return Spans(
        start=first,
        validation=end - calibration - validation,
        calibration=end - calibration,
        end=end,
    )
