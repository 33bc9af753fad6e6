"""The remote half of the forecasts; its own process."""
