"""Where in Discord a wish came from, which is what quotas count by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """A member, and the server in which he asked; each is Discord's id."""

    member: int
    server: int | None
    """None: in a private talk."""
