"""The dashboard and its API, on loopback.  Reads freely; of control it can only stop."""
