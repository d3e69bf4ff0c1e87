"""How a trainer process is asked to stop, dies with its parent, and keeps its stdout for protocol lines alone."""

import ctypes
import gc
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from trainer.errors import CANCELLED, Cancelled
from trainer.protocol import Cancel, Message, Order, ProtocolError, parse

logger = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>

Emit = Callable[[Message], None]
Tell = Callable[[str], None]
"""Takes one sentence for whoever waits."""
Check = Callable[[], None]
"""Called wherever work may be given up: raises Cancelled once SIGINT has come."""

#: Libraries that would draw progress bars, phone home, or start threads of their own; set before they are imported.
_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DISABLE_SAFETENSORS_CONVERSION": "1",  # else a hub model without safetensors is sent to somebody's converter
    "TOKENIZERS_PARALLELISM": "false",
    # OpenMP's threads wait for each other by spinning without end: beside another load that stops both (docs/benchmarks.md).
    "GOMP_SPINCOUNT": "12000",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # repeatable matrix products on a GPU
}


def quiet_libraries() -> None:
    """Set the environment that transformers and its hub client read when they are imported."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def imports() -> Iterator[None]:
    """Import torch and what stands on it inside of this: in two thirds of the time (docs/benchmarks.md).

    Some 600,000 objects come and stay. Each time that so many more have come the collector would look through all of them, then and later.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def claim_stdout() -> Emit:
    """Take stdout away from everybody else and return the function that writes a message to it.

    From here on file descriptor 1 is stderr, so that a library's print, or a child's, cannot get between two messages.
    """
    sys.stdout.flush()
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def emit(message: Message) -> None:
        # A lone surrogate, which JSON may carry and UTF-8 may not, goes out as the \\udXXX that it came in as.
        rest = memoryview(f"{message.to_json()}\n".encode("utf-8", "backslashreplace"))
        while rest:
            rest = rest[pipe.write(rest) :]

    return emit


def lines_of_stdin() -> Iterator[str]:
    """Yield what comes on stdin, line by line, without their ends, until it ends or cannot be read.

    Not through sys.stdin: Python aborts at its end if a thread waits inside that one's lock.
    """
    rest = b""
    with suppress(OSError):
        while chunk := os.read(0, 1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


class Stop:
    """SIGINT, turned into a flag that is looked at between steps; what waits for something is woken."""

    def __init__(self) -> None:
        self._requested = False
        self._waiting = False

    def install(self) -> None:
        """Listen to SIGINT from here on. SIGTERM keeps its default: it ends the process at once."""
        signal.signal(signal.SIGINT, self._interrupted)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def check(self) -> None:
        """Raise Cancelled if SIGINT has come."""
        if self._requested:
            raise Cancelled(CANCELLED)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let SIGINT raise Cancelled out of whatever waits inside."""
        self._waiting = True
        try:
            self.check()
            yield
        finally:
            self._waiting = False

    def _interrupted(self, _signal: int, _frame: FrameType | None) -> None:
        self._requested = True
        if self._waiting:
            self.check()


class Parent:
    """The process that started a trainer, heard on stdin by a thread: orders, cancellations, and its end.

    When stdin closes, the parent is gone, and this process and all its children end at once. SIGKILL goes to the whole process
    group, because a grandchild (pip) knows nothing of us. That is right only where this process leads a group of its own, as
    the bot starts it; a shell's group is not ours to kill.
    """

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        # Where the parent has stopped this process and dies, nobody would wake it to hear of that: Linux does.
        with suppress(AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def cancelled(self, job: str) -> bool:
        """Say whether the parent wants this job to end."""
        return job in self._cancelled

    def orders(self, stop: "Stop") -> Iterator[Order]:
        """Yield the orders as they come.

        Raises:
            Cancelled: SIGINT came before or while it waited.
        """
        while True:
            with stop.waiting():
                order = self._orders.get()
            yield order

    def _listen(self) -> None:
        try:
            for line in lines_of_stdin():
                match parse(line):
                    case Order() as order:
                        self._cancelled.clear()  # what was cancelled in one is no concern of the next
                        self._orders.put(order)
                    case Cancel(job=job):
                        self._cancelled.add(job)
                    case other:
                        logger.warning("a trainer takes orders and cancellations, not a %s", other.type)
        except ProtocolError:  # no way to go on: an order that is not understood would be waited for for ever
            logger.exception("the parent speaks another protocol: ending")
        logger.warning("the lifeline closed: ending")
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
