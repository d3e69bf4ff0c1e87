"""The operator's page: served on loopback, to whoever has the token."""
