"""Forecast edge: trade where the calibrated forecast is sure enough of a direction."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.forecasts import Forecast
from domain.market import MarketView
from domain.signals import Action, Signal
from strategies.wishes import simple_moments, wish

NAME = "forecast"
# Lowest and highest value allowed, both included.
BOUNDS = {
    "min_confidence": (0.5, 0.99),
    "max_abs_mean": (0.01, 5.0),
    "max_volatility": (0.01, 10.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastEdgeSettings:
    """``min_confidence`` to act; a forecast beyond the plausible band is not believed."""

    min_confidence: float = 0.60
    max_abs_mean: float = 0.50
    max_volatility: float = 1.00


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastEdge:
    """BUY or SELL by P(up) and the expected simple return, else HOLD."""

    settings: ForecastEdgeSettings = ForecastEdgeSettings()
    name: str = NAME

    def decide(self, view: MarketView) -> Sequence[Signal]:
        """Return one signal for each symbol that has a forecast."""
        return [self._signal(view.forecasts[symbol]) for symbol in sorted(view.forecasts)]

    def _signal(self, forecast: Forecast) -> Signal:
        settings = self.settings
        is_plausible = (
            abs(forecast.mean) <= settings.max_abs_mean
            and forecast.volatility <= settings.max_volatility
        )
        if not is_plausible:
            return self._disbelieved(forecast)
        variance = forecast.volatility * forecast.volatility
        expected, volatility = simple_moments(forecast.mean, variance)
        source = f"{forecast.source.value} {forecast.model}"
        return wish(
            symbol=forecast.symbol,
            strategy=self.name,
            probability_up=forecast.probability_up,
            expected_return=expected,
            volatility=volatility,
            horizon=forecast.horizon,
            min_confidence=settings.min_confidence,
            basis=f"{source}: P(up) {forecast.probability_up:.2f}, expected {expected:+.2%}",
        )

    def _disbelieved(self, forecast: Forecast) -> Signal:
        return Signal(
            symbol=forecast.symbol,
            strategy=self.name,
            action=Action.HOLD,
            strength=0.0,
            confidence=0.5,
            expected_return=0.0,
            volatility=0.0,
            horizon=forecast.horizon,
            reason=f"forecast outside the plausible band (mean {forecast.mean:+.2f})",
        )
