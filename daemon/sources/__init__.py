"""What the configuration names, opened: bars, news, sentiment, forecasts."""
