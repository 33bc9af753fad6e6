"""The wires out: bounded HTTP, circuit breaker, pacing, replay loop.  Knows no vendor."""
