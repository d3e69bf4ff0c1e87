"""Where a trainer and the speaker run: processes of this machine, and, for trainers, nodes of a cluster."""
