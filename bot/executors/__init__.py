"""Where a trainer and the speaker run: local processes, or, one day, a cluster."""
