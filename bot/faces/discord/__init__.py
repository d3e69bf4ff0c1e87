"""Mynah in Discord: slash and prefix commands, messages that follow a training, and the connection that stays up."""
