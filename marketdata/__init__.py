"""Bars, sessions and their sources."""
