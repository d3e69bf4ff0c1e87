"""Talks to people, decides, remembers; never loads a model."""
