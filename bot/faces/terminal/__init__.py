"""Mynah in a terminal: the command line, and a console that takes the Discord commands."""
