"""A store in which the process dies, for tests of what is found afterwards."""

from collections.abc import Callable
from typing import Any

from data.store import Store


class Crash(BaseException):
    """What a process dies of."""


class Frail(Store):
    """A store in which the process dies at a write, counted from when a test says so: before it begins, or once it is done."""

    left: int | None = None
    """Writes; None: it does not die."""
    after = False

    async def write(self, work: Callable[..., Any], *args: Any, **more: Any) -> Any:  # type: ignore[override]
        if self.left is not None:
            self.left -= 1
            if self.left < 0 or (self.left == 0 and not self.after):
                raise Crash  # what is dead writes nothing on its way out either
        result = await super().write(work, *args, **more)
        if self.left == 0:
            raise Crash
        return result
