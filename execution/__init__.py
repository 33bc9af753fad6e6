"""The trading cycle and the order path."""
