"""X behind one port: reading, posting."""
