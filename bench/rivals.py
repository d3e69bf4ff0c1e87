"""The rivals of bench/speak.py as processes: what each is told, how it is started, and how it is asked for its lines again and again.

A rival reads one file of work, gets ready, says so in one line of JSON, and then, for each line on its stdin, says one line of the
work's length for each voice, one after another, and answers with one line of JSON. Nothing is imported here but Python's own: one of
them runs in an environment that has llama.cpp and nothing else.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.child import Child
from bench.common import Document, resident


@dataclass(frozen=True)
class Work(Document):
    """What a rival has to say: a line of exactly `tokens` tokens for each voice, whatever would end it."""

    source: str
    """Of the base: a folder, or a name on the hub that is in the cache by now."""
    cache: str
    device: str
    """cpu or cuda."""
    threads: int
    """As many as torch takes here."""
    gguf: str
    """The embedded base as it was fetched; empty for another base."""
    adapters: list[str]
    """A folder in peft's format for each voice."""
    ids: list[int]
    """What is read before a line, as Mynah reads it."""
    tokens: int
    temperature: float
    top_k: int
    top_p: float
    seed: int
    probe: list[int]
    """Tokens after which each voice's logits are compared with Mynah's."""
    logits: str
    """File with Mynah's: (S, V), fp32 on the CPU."""


class Rival(Child):
    """A rival's process, alive inside the block."""

    def __init__(self, work: Path, log: Path, module: str, *words: str, python: str = sys.executable) -> None:
        """`words` follow the work's path on the command line."""
        # Offline, or peft and transformers would ask the hub about the base.
        super().__init__([python, "-m", module, str(work), *words], log, HF_HUB_OFFLINE="1", PYTHONUNBUFFERED="1")
        self.ready: dict[str, Any] = {}
        """What it said when it was ready."""

    def wait(self) -> None:
        """Wait until it is ready."""
        self.ready = self._answer()

    def turn(self) -> tuple[float, int]:
        """Have it say all lines once; return seconds and tokens."""
        began = time.perf_counter()
        self.send("")
        tokens = self._answer()["tokens"]
        return time.perf_counter() - began, tokens

    def end(self) -> dict[str, Any]:
        """End it, and return its last word: the most bytes that it had in memory."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = next(self.lines(), "")
        if not line:
            raise SystemExit(f"{' '.join(self.command)} ended without a word; of what it said:\n{self.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def serve(begin: Callable[[Work], tuple[dict[str, Any], Callable[[], int]]]) -> None:
    """Be a rival: `begin` gets ready, and returns what there is to tell and what says all lines and returns their number of tokens."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(what: dict[str, Any]) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    told, say = begin(Work.read(sys.argv[1]))
    say()  # once before the clock, as the speaker does
    tell(told)
    for _ in sys.stdin:
        tell({"tokens": say()})
    tell({"memory": resident()})
