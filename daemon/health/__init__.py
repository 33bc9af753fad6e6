"""Is the process well: the service manager, errors, the last count before the wire."""
