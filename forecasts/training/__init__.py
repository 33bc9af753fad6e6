"""Training of forecasting models; the daemon's process never imports this package."""
