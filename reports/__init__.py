"""End-of-day report."""
