"""The trading cycle over recorded data."""
