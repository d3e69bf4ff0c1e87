"""Blocking work in threads of its own: what the end of the process does not wait for, and what nobody is to wait behind."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_EASEL = ThreadPoolExecutor(1, thread_name_prefix="drawing")
_DESK = ThreadPoolExecutor(1, thread_name_prefix="reading")


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own and return its result; cancelled, leave the thread to itself.

    `asyncio.to_thread` would hold up a shutdown for as long as X takes to answer, or a person to press Enter.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(act: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            act(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (done.set_result, work())
        except BaseException as error:
            outcome = (done.set_exception, error)
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:  # the loop is closed: nobody waits for this any more
            return

    threading.Thread(target=run, daemon=True).start()
    return await done


async def drawn(draw: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `draw` makes, in a thread that does nothing but draw, one picture after the other.

    A picture takes half a second, and trainings end together: in the few threads of `asyncio.to_thread` their cards would be in the way of
    lines that are judged there, and that somebody waits for.
    """
    return await _done(_EASEL, draw, *args, **kwargs)


async def read_in_turn(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what `read` makes of a file that somebody brought, one file after the other: each may take a gigabyte while it is read."""
    return await _done(_DESK, read, *args, **kwargs)


async def _done(where: ThreadPoolExecutor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(where, lambda: context.run(work, *args, **kwargs))
