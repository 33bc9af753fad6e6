"""Everything openbell knows, in SQLite, and the latch."""
