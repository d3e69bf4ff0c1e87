"""A line in the making: what was asked for, the tokens that it has, and when it is finished."""

import random
from dataclasses import dataclass, field

from trainer import frames
from trainer.bases import Base
from trainer.kv import Read
from trainer.lora import Lora
from trainer.protocol import Sampling
from trainer.sampling import least_weight

MOST_READ = 256
"""Tokens of a prompt that are read, the last; no post is so long, and each more would make room for all rows larger."""
LENGTH_STEP = 8
"""Tokens between two looks at how long a line is."""


@dataclass(frozen=True)
class Voice:
    """What a row wears."""

    key: str
    """Equal for equal weights: their sha256."""
    lora: Lora
    scale: float


@dataclass
class Speech:
    """What is asked of a batch: `count` lines that continue `prompt`, answer `message`, and are by `author`; each may be empty."""

    id: str
    voice: Voice | None
    """None: the base alone, or what it wears already."""
    prompt: str
    count: int
    seed: int
    sampling: Sampling
    message: str = ""
    author: str = ""
    turn: float = 0.0
    """Who waits for places gets them in this order."""
    begun: int = 0
    """Rows that have joined the batch."""
    read: Read | None = None
    """The keys and values with which its rows begin."""
    _tokens: tuple[list[int], list[int]] | None = field(default=None, init=False, repr=False, compare=False)

    def tokens(self, base: Base) -> tuple[list[int], list[int]]:
        """Return the prompt's tokens, and those that are read before each line. They are found once: the base is always the same."""
        if self._tokens is None:
            prompt = base.encode([self.prompt.rstrip(" ")])[0]
            self._tokens = prompt, self.reading(base, self.message, prompt)
        return self._tokens

    def reading(self, base: Base, message: str, prompt: list[int]) -> list[int]:
        """Return the tokens that are read before a line: the frame, and as much of the prompt's end as there is room for."""
        frame = frames.frame(base, message, self.author)
        room = max(0, min(MOST_READ, base.context - self.budget(base) - len(frame)))
        return [*frame, *prompt[max(0, len(prompt) - room) :]]

    def budget(self, base: Base) -> int:
        """Return how many tokens a line may draw."""
        return min(self.sampling.max_tokens, max(1, base.context // 2))


@dataclass(frozen=True)
class Drawn:
    """One finished line."""

    index: int
    text: str
    """Prompt included, end token and newline not."""
    complete: bool
    """It ended at the separator or at a newline, not because it became too long."""
    log_likelihood: float
    """Mean over the drawn tokens, the ending one included, nats, at temperature 1."""
    relevance: float
    """That, less what it is without the message; 0 where there is none."""


@dataclass
class Row:
    """A row of the batch."""

    speech: Speech
    index: int
    chance: random.Random
    before: list[int]
    """The prompt's tokens."""
    next: int
    """The token that the model reads next."""
    position: int
    """Where it stands."""
    most_positions: int
    """Where it stands at most, in the end."""
    spoke: bool
    """Until a row says something, neither separator nor newline ends it: no post is empty."""
    likelihood: float = 0.0
    drawn: list[int] = field(default_factory=list)
    """All its tokens, that which ended it included."""
    tail: str = ""
    """What the token that ended it says before the newline."""
    complete: bool = False

    @classmethod
    def begin(cls, speech: Speech, prompt: list[int], read: list[int], base: Base) -> "Row":
        """Return the next row of a speech, whose prompt has these tokens, and which has read these but the last."""
        chance = random.Random(f"{speech.seed}/{speech.begun}")  # noqa: S311 - a draw, no secret
        most_positions = len(read) + speech.budget(base)
        row = cls(speech, speech.begun, chance, prompt, read[-1], len(read) - 1, most_positions, bool(speech.prompt.strip()))
        speech.begun += 1
        return row

    def take(self, base: Base, token: int, score: float) -> bool:
        """Take the token that was drawn, of log-likelihood `score`; return whether the line is finished by it."""
        self.likelihood += score
        self.position += 1
        self.drawn.append(token)
        self.next = token
        piece = "" if token == base.separator else base.decode([token])
        head, newline, _ = piece.partition("\n")
        if token == base.separator or (newline and (self.spoke or head.strip())):
            self.tail, self.complete = head, True
            return True
        self.spoke |= bool(piece.strip())
        count = len(self.drawn)
        return count == self.speech.budget(base) or (count % LENGTH_STEP == 0 and self._too_long(base))

    def text(self, base: Base) -> str:
        """Return the line so far, or as it ended."""
        text = base.decode(self.before + (self.drawn[:-1] if self.complete else self.drawn)) + self.tail
        return text if self.speech.prompt.strip() else text.lstrip()

    @property
    def mean(self) -> float:
        """Log-likelihood of its drawn tokens, in the mean."""
        return self.likelihood / len(self.drawn)

    def line(self, base: Base, relevance: float) -> Drawn:
        """Return the line that it ended as."""
        return Drawn(self.index, self.text(base), self.complete, self.mean, relevance)

    def _too_long(self, base: Base) -> bool:
        bound = self.speech.sampling.max_weight
        return bool(bound) and least_weight(self.text(base)) > bound
