"""Forecast engines: remote, local, and the way down from one to the other."""
