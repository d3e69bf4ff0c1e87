"""What a tracker of trainings is told, and what it must be."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True)
class Message:
    """Base of what a tracker is told."""

    type: ClassVar[str]
    run: str
    """The run that it is about; a key of ours, unlike that of any other run."""

    def to_json(self) -> str:
        """Return the message as one line of JSON, without a line end."""
        return json.dumps({"type": self.type, **asdict(self)}, ensure_ascii=False)


@dataclass(frozen=True)
class Begin(Message):
    """A run begins."""

    type: ClassVar[str] = "begin"
    name: str
    kind: str
    """The type of its job, by which a tracker sorts runs: preprocess or train."""
    group: str
    """Runs of one group belong together."""
    config: Mapping[str, Any]
    folder: str
    """Where all that the tracker writes of it goes; once it is gone, nothing more is written or sent of the run."""


@dataclass(frozen=True)
class Metrics(Message):
    """What was measured after a step."""

    type: ClassVar[str] = "metrics"
    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Artifact(Message):
    """Something that a run used or made."""

    type: ClassVar[str] = "artifact"
    name: str
    kind: str
    """raw-dataset, train-dataset, pretrained-model or finetuned-model, as the ancestor called them."""
    facts: Mapping[str, Any]
    """Counts and hashes; two artifacts with the same facts and contents are the same."""
    used: bool = False
    """An input of the run, not what it made."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """By name, files that are part of it."""
    files: Mapping[str, str] = field(default_factory=dict)
    """By name, paths of more of them, in the run's folder."""


@dataclass(frozen=True)
class End(Message):
    """A run ended."""

    type: ClassVar[str] = "end"
    ok: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What came of it."""


class Tracker(Protocol):
    """Keeps a record of runs; what it cannot do it says in the log, once, and to nobody else."""

    def tell(self, message: Message) -> None:
        """Take a message and return at once; never raises."""
        ...

    async def close(self) -> None:
        """Give it some seconds for what it was told, and then leave nothing of it behind."""
        ...
