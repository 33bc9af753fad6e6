"""The process: command line, configuration, wiring, telemetry."""
