"""A speaker's process as a bench drives it: requests go in, and of all that comes back it is known when it came.

It needs trainer/ alone, so that it also runs where there is a GPU and little else.
"""

import queue
import sys
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench.child import Child
from bench.common import resident
from trainer import protocol
from trainer.protocol import Cancel, Failed, Line, SpeechRequest, Spoken, Stage, parse

SPEAKER = (sys.executable, "-m", "trainer", "--speak")
SILENCE_SECONDS = 600.0
"""After which a speaker that owes an answer is given up."""


@dataclass
class Heard:
    """One request, and its answer so far; all times are time.perf_counter()'s."""

    sent: float
    lines: list[Line] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each of the lines came."""
    ended: float = 0.0

    @property
    def first(self) -> float:
        """Seconds to the first line."""
        return self.times[0] - self.sent

    @property
    def whole(self) -> float:
        """Seconds to the end."""
        return self.ended - self.sent


class Speaker(Child):
    """`python -m trainer --speak`, alive inside the block."""

    def __init__(self, log: Path) -> None:
        super().__init__(SPEAKER, log)
        self._said: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self._open: dict[str, Heard] = {}

    def __enter__(self) -> Self:
        self.began = time.perf_counter()
        super().__enter__()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._listening.join()
        super().__exit__()

    @property
    def memory(self) -> int:
        """The most bytes that it had in memory so far (VmHWM)."""
        return resident(self.process.pid)

    def say(self, requests: Sequence[SpeechRequest]) -> list[Heard]:
        """Send the requests all at once, wait until all have ended, and return their answers in the same order."""
        asked = [self.ask(request) for request in requests]
        while not all(heard.ended for heard in asked):
            self.hear()
        return asked

    def ask(self, request: SpeechRequest) -> Heard:
        """Send a request and return what will hold its answer."""
        heard = self._open[request.id] = Heard(time.perf_counter())
        self.send(request.to_json())
        return heard

    def hear(self) -> tuple[Heard, Line | Spoken | Failed]:
        """Wait for the next that it says, and return it with the answer of which it is a part.

        Raises:
            SystemExit: a request failed (one that was cancelled has not), or the speaker is dead or silent.
        """
        while True:
            try:
                at, line = self._said.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                raise SystemExit(f"The speaker owes an answer and was silent for {SILENCE_SECONDS:g} s: see {self.log}.") from None
            if not line:
                raise SystemExit(f"The speaker ended with {len(self._open)} requests unanswered: see {self.log}.")
            match parse(line):
                case Line() as said:
                    heard = self._open[said.id]
                    heard.lines.append(said)
                    heard.times.append(at)
                    return heard, said
                case (Spoken() | Failed(code=protocol.CANCELLED)) as said if said.id in self._open:
                    heard = self._open.pop(said.id)
                    heard.ended = at
                    return heard, said
                case Failed(code=protocol.CANCELLED):
                    pass  # it had ended when its cancellation came
                case Stage():
                    pass  # it lives, and goes on loading
                case other:
                    raise SystemExit(f"The speaker said {other.to_json()}: see {self.log}.")

    def steadily(self, requests: Iterable[SpeechRequest], clients: int) -> Generator[tuple[Heard, Line | Spoken | Failed], None, None]:
        """Keep `clients` requests open, the next sent when one has ended, and yield what is heard.

        When the caller has heard enough, whatever is open is cancelled; close the iterator before asking anything else.
        """
        source = iter(requests)
        for _ in range(clients):
            self.ask(next(source))
        try:
            while True:
                heard, said = self.hear()
                yield heard, said
                if not isinstance(said, Line):
                    self.ask(next(source))
        finally:
            self.cancel_all()

    def cancel_all(self) -> None:
        """End whatever is open, and hear what is still said of it."""
        for id_ in list(self._open):
            self.send(Cancel(id_).to_json())
        while self._open:
            self.hear()

    def _listen(self) -> None:
        for line in self.lines():
            self._said.put((time.perf_counter(), line))
        self._said.put((time.perf_counter(), ""))
