"""Risk: Kelly, sizing, limits, the gate, drawdown.  Pure."""
