"""Checks of everything the daemon relies on, one line each; nothing is changed."""
