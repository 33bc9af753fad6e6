"""Inside a session: the runs, the watch, and what may stop or close."""
