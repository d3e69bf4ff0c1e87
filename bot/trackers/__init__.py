"""Experiment trackers: one port, and the child process in which a tracker's library runs."""
