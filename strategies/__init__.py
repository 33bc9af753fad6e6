"""Strategies: a market view in, signals out.  Pure."""
