"""What contenders and rivals share: the task and the result as files, looks at the held-out loss off the clock, memory, the base.

Each contender of bench/train.py is a process of its own, started with the path of a task. Its clock (turns.py) is the wall's, less the
time of the looks. Nothing heavy is imported at the top: what only a look needs is imported by the first look, and so is off the clock.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.turns import clock

#: Losses nearer than this are called equal, nats a token.
TIE = 0.02
#: Tokens of one batch of a look: fewer than a training step's, so that looks do not raise the peak of memory.
LOOK_TOKENS = 512


class Document:
    """A dataclass that one process writes into a file of JSON and another reads."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")  # type: ignore[call-overload]


@dataclass
class Task(Document):
    """One training by one contender."""

    source: str
    """Of the base: a folder, or a name on the hub that is in the cache by now."""
    cache: str
    device: str
    """cpu or cuda."""
    separator: int
    """Id of the token on both sides of a post."""
    row: int
    """Positions of a post at most: what needs more is cut there, in training and looks alike ((a), which cuts nothing, aside)."""
    block: int
    """Tokens of one of (a)'s blocks."""
    train: list[str]
    stop: list[str]
    report: list[list[int]]
    """Tokens of the report split, as Mynah makes them of the posts, separators included: all contenders are measured on these."""
    seed: int
    look_every: int
    """Tokens learned from between two looks, about."""
    output: str
    """Empty folder for the model; `result.json` beside it tells what became of it."""
    epochs: int = 0
    rate: float = 0.0

    @property
    def result(self) -> Path:
        return Path(self.output).with_name("result.json")


@dataclass
class Result(Document):
    """What a contender found. Seconds leave the looks out."""

    ready: float
    """turns.clock() when the model was usable on disk."""
    aside: float
    """Seconds of the looks until then."""
    seconds: float
    """Of the training loop, from before its first step to after its last, early stopping's evaluations included."""
    stepping: float
    """The same without those evaluations."""
    tokens: int
    """Learned from in that loop."""
    steps: int
    epochs: float
    memory: int
    """Most bytes resident (VmHWM)."""
    memory_gpu: int
    stored: int
    """Bytes of the weights on disk."""
    before: float
    """Loss of the report split, base model as it came, nats a token."""
    final: float
    """The same tokens, the model as stored."""
    curve: list[tuple[int, float, float]]
    """(step, seconds of training, loss of the report split) of each look; the first is before the first step."""
    stop_loss: float | None = None


class Course:
    """A training's clock and curve: it stands still while it looks."""

    def __init__(self, measure: Callable[[], float], every: int) -> None:
        """`measure` returns the loss of the report split; `every` is in steps."""
        self._measure = measure
        self._every = max(1, every)
        self._began = 0.0
        self.aside = 0.0
        """Seconds of all looks so far."""
        self.curve: list[tuple[int, float, float]] = []

    def start(self) -> None:
        """Look once, then let the clock of the loop run."""
        self._began = clock()
        self._look(0)

    @property
    def seconds(self) -> float:
        """Since the start, looks taken off."""
        synchronise()
        return clock() - self._began - self.aside

    def step(self, number: int, *, last: bool = False) -> None:
        """Call it after each optimizer step, numbered from 1; of the last there is always a look."""
        if (last or number % self._every == 0) and self.curve[-1][0] != number:
            self._look(number)

    def _look(self, number: int) -> None:
        seconds = self.seconds
        began = clock()
        self.curve.append((number, seconds, self._measure()))
        self.aside += clock() - began


def held_out(model: Any, task: Task) -> float:
    """Return the cross-entropy of the report split, nats a token, each post read alone.

    It shares no code with Mynah's own: posts of like length are padded at their ends, where a causal model does not see it.
    """
    import torch

    training, total, count = model.training, 0.0, 0
    model.eval()
    with torch.no_grad():
        for batch in _batches(task.report):
            width = max(map(len, batch))
            tokens = torch.tensor([[*post, *[task.separator] * (width - len(post))] for post in batch], device=task.device)  # (B, T + 1)
            targets = torch.tensor([[*post, *[-100] * (width - len(post))] for post in batch], device=task.device)[:, 1:]  # (B, T)
            logits = model(input_ids=tokens[:, :-1], use_cache=False).logits  # (B, T, V)
            total += torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum").item()
            count += sum(len(post) - 1 for post in batch)
    model.train(training)
    return total / count


def _batches(posts: Sequence[list[int]]) -> Iterator[list[list[int]]]:
    """Yield posts of like length together, at most LOOK_TOKENS with their padding (or one post)."""
    batch: list[list[int]] = []
    for post in sorted(posts, key=len):
        if batch and len(post) * (len(batch) + 1) > LOOK_TOKENS:
            yield batch
            batch = []
        batch.append(post)
    yield batch


def load(source: str, cache: str, *, half: bool = False, speaks: bool = False) -> tuple[Any, Any]:
    """Return the base as Hugging Face's classes give it, and its tokenizer; fp32, or bf16 where `half`; with a cache where it `speaks`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    hub = Path(cache) / "hub"
    tokenizer = AutoTokenizer.from_pretrained(source, cache_dir=hub)
    model = AutoModelForCausalLM.from_pretrained(
        source, cache_dir=hub, dtype=torch.bfloat16 if half else torch.float32, attn_implementation="sdpa"
    )
    if not speaks:
        # With a cache transformers does not look where position ids start again, and (b)'s posts would see each other.
        model.config.use_cache = False
    return model, tokenizer


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text, none of them special."""
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values that at least this share of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def forget_pages(path: Path) -> None:
    """Have the kernel read a file from the disk the next time."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(pid: int | str = "self") -> int:
    """Return the most bytes that a process had in memory so far; 0 where it has gone or /proc is absent."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def resident_gpu() -> int:
    """Return the most bytes that this process' tensors had on a GPU."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0


def stored(folder: Path) -> int:
    """Return the bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def synchronise() -> None:
    """Wait for the GPU, if there is one: its work is done when the clock is read."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
