"""What a trainer and a speaker are told, and what they say back: plain dataclasses as JSON, one document a line.

A **trainer** is started as `python -m trainer --job FILE [FILE ...]` or `python -m trainer --stay`. Each FILE holds one `Job`;
several are trained at once, in one batch. It writes `Event`s on stdout, each with its job's id, and nothing else there (logs go
to stderr); every job ends with exactly one `Done` or `Failed`. `Done` names a file that was complete on disk before.
With `--job` it exits when all have ended, with 0 if all are done and 1 if not. With `--stay` it keeps the base in memory, takes
an `Order` of files from stdin, trains them, says `Ready`, and waits for the next order until stdin ends.
With `--lifeline` or `--stay` stdin is listened to: a `Cancel` ends one job after its step, and when stdin closes the parent is
gone: the trainer ends at once, with its whole process group.
With `--stay --cluster CLUSTER` each order is trained on a node of a cluster of Ray's, and all else is as with `--stay`, but that it
says `Ready` before the first order, too, once it is connected; what it cannot go on with, and is not the job's own fault, is
`Failed(code="lost")`: started again, the job goes on from the last checkpoint that came back.

A **speaker** is started as `python -m trainer --speak`. It reads `SpeechRequest`s from stdin, a line each, as many as come, and answers
them together: `Line`s as they are finished (those that answer a message, all with the last), then `Spoken`, or `Failed`, each with the
request's id. A `Cancel` with that id ends one request, with `Failed(code="cancelled")`. When stdin ends it answers what it was asked, and
exits. A `Stage` now and then, while it has something to do, says that it lives.

A **carrier** is started as `python -m trainer --carry FILE`, where FILE holds one `Export` or `Import`: a model as a folder that
needs nothing of Mynah, or such a folder as a model. It says `Exported`, `Imported` or `Failed`, and exits.

Signals, for all: SIGINT asks (a trainer finishes its step and says `Failed(code="cancelled")` of every job); SIGTERM ends it
at once. A trainer that is killed has left checkpoints in its jobs' folders: the same job started again goes on from there.

The document is a flat JSON object with a `type`; unknown keys are an error, so that two versions that differ say so.
"""

import json
import types
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, NoReturn, get_args, get_origin, get_type_hints

VERSION = 2

#: The languages that a base writes, by its name: ISO 639-1, as its maker says; None: so many that there is no use in naming them
#: (Gemma 3: over 140, Qwen3: 119). Of a base that is not here nothing is known. docs/bases.md has more of each.
LANGUAGES: dict[str, tuple[str, ...] | None] = {
    "smollm2-135m-instruct": ("en",),
    "HuggingFaceTB/SmolLM2-135M": ("en",),
    "gpt2": ("en",),
    "distilgpt2": ("en",),
    "google/gemma-3-270m": None,
    "Qwen/Qwen3-0.6B-Base": None,
    "Qwen/Qwen2.5-0.5B": ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "th", "vi", "zh"),
}
#: What a base of another name is called on the Hugging Face hub. Every other name that is no folder is that of the hub already.
HUB_NAMES = {
    "smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "gpt2": "openai-community/gpt2",
    "distilgpt2": "distilbert/distilgpt2",
}
#: What to suggest to those whose language their base does not write: the smallest of the above that does, so that two cores will do.
MULTILINGUAL = "google/gemma-3-270m"


class ProtocolError(Exception):
    """A line that is no message of this protocol."""


@dataclass(frozen=True)
class Message:
    """Base of everything that crosses a pipe."""

    type: ClassVar[str]

    def to_json(self) -> str:
        """Return the message as one line of JSON, without a line end."""
        return json.dumps({"type": self.type, **asdict(self)}, ensure_ascii=False, allow_nan=False)


# ---------------------------------------------------------------- to a trainer


@dataclass(frozen=True)
class Post:
    """One cleaned post of the corpus."""

    author: str
    text: str
    parent: str = ""
    """The post that it answers, cleaned; empty where no source has it."""


@dataclass(frozen=True)
class Recipe:
    """How to train. None means: what was measured to be best for this base and this much text (trainer/recipe.py)."""

    base: str = "smollm2-135m-instruct"
    """A name of trainer/bases.py, a model's name on the hub, or a local folder."""
    method: str = "lora"
    """lora, or full: every weight of the base, for parity with the ancestor."""
    device: str = "auto"
    """auto, cpu, or cuda."""
    seed: int = 0
    rank: int | None = None
    learning_rate: float | None = None
    epochs: int | None = None
    tokens_per_step: int | None = None
    """Targets that one optimizer step sees, about; what does not fit is the next step's."""
    answers: float | None = None
    """Share of the posts, from 0 to 1, that an epoch learns as the answer to a message."""


@dataclass(frozen=True)
class Job(Message):
    """One training: the whole input of a trainer, which is a function of it."""

    type: ClassVar[str] = "job"
    id: str
    """Said in each of its events; unlike that of any other job of the same order."""
    recipe: Recipe
    train: list[Post]
    stop: list[Post]
    """Early stopping looks at these."""
    report: list[Post]
    """Every reported loss is of these, which chose nothing."""
    output: str
    """Folder for the artifact and the checkpoint; made if missing."""
    cache: str
    """Folder in which bases are kept."""
    start: str | None = None
    """Path of the weights of an earlier version to start from; None: from the base."""
    start_sha256: str = ""
    start_adapter: dict[str, Any] = field(default_factory=dict)
    """What Done.details of that version says of its adapter: an imported one may be scaled in another way than what is trained here."""
    protocol: int = VERSION


@dataclass(frozen=True)
class Order(Message):
    """To a trainer that stays: the job files to train now, all at once."""

    type: ClassVar[str] = "order"
    files: list[str]


@dataclass(frozen=True)
class Cluster(Message):
    """To a trainer that has its orders trained elsewhere: on which nodes, and how."""

    type: ClassVar[str] = "cluster"
    address: str = "auto"
    """HOST:PORT of the head node, or auto: the cluster that this machine belongs to."""
    num_gpus: float = 1
    """What an order takes of a node."""
    num_cpus: float = 1
    cache: str = "~/.cache/mynah"
    """Folder of a node for bases and for what is trained; ~ is the home of whoever started Ray there."""
    checkpoint_seconds: float = 60
    """So often at most a checkpoint is brought back; 0: never."""
    inherited: list[str] = field(default_factory=list)
    """What a trainer may know of a node's environment: names, or families of names, which end in *."""


@dataclass(frozen=True)
class Cancel(Message):
    """End one job, or one speech request, of those under way."""

    type: ClassVar[str] = "cancel"
    job: str
    """Its id."""


# -------------------------------------------------------------- from a trainer


@dataclass(frozen=True)
class FromTrainer(Message):
    """Base of what a trainer says of one job."""

    job: str = field(default="", kw_only=True)
    """Its id; empty only in a Failed that concerns no job, such as that of a file that cannot be read."""


@dataclass(frozen=True)
class Stage(FromTrainer):
    """A part of the work began: base, measure, train, sample or save; a speaker is loading a base, or speaking."""

    type: ClassVar[str] = "stage"
    name: str


@dataclass(frozen=True)
class Note(FromTrainer):
    """Something the person should read, in one sentence."""

    type: ClassVar[str] = "note"
    sentence: str


@dataclass(frozen=True)
class Step(FromTrainer):
    """Progress; sent after every optimizer step."""

    type: ClassVar[str] = "step"
    step: int
    steps: int
    loss: float
    """Mean cross-entropy of this step's targets, nats a token."""
    tokens_per_second: float
    """Targets learned from a second, since training began, looks at the stop split included."""
    eta_seconds: float


@dataclass(frozen=True)
class Evaluation(FromTrainer):
    """The loss on the stop split after `step` steps, nats a token."""

    type: ClassVar[str] = "evaluation"
    step: int
    loss: float


@dataclass(frozen=True)
class Sample(FromTrainer):
    """A line as the model stands, for the person who waits."""

    type: ClassVar[str] = "sample"
    step: int
    text: str


@dataclass(frozen=True)
class Done(FromTrainer):
    """The artifact is complete."""

    type: ClassVar[str] = "done"
    weights: str
    """Path of adapter.safetensors."""
    sha256: str
    bytes: int
    loss_before: float
    """Nats a token over the report split, base model as it came."""
    loss_after: float
    """The same tokens, after training."""
    seconds: float
    """From the order, or the start of a process without one, to this message."""
    samples: list[str]
    details: dict[str, Any] = field(default_factory=dict)
    """What is needed to repeat it: resolved recipe, token counts, versions, hardware, seconds a stage, adapter configuration."""


#: The values of Failed.code.
CANCELLED = "cancelled"
OUT_OF_MEMORY = "out_of_memory"
NOT_FINITE = "not_finite"
BASE_UNAVAILABLE = "base_unavailable"
TOO_LITTLE_TEXT = "too_little_text"
BAD_JOB = "bad_job"
BAD_REQUEST = "bad_request"  # of a speaker: the line or its numbers
BAD_WEIGHTS = "bad_weights"  # of a speaker: adapter.safetensors is missing, or not what its sha256 says; lay it down anew
INTERNAL = "internal"
LOST = "lost"  # the machine that trained it, or the way there, went away: nothing is said against the job
#: Said by the bot for a trainer that ended without a word.
DIED = "died"


@dataclass(frozen=True)
class Failed(FromTrainer):
    """It ended without a result. `sentence` is for a person and says what to do next."""

    type: ClassVar[str] = "failed"
    code: str
    sentence: str
    id: str | None = None
    """The speech request that failed; None where a trainer did."""


@dataclass(frozen=True)
class Ready(Message):
    """All jobs of the order have ended, and the trainer waits for another."""

    type: ClassVar[str] = "ready"


# ------------------------------------------------------- to and from a speaker


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn: penalties first, then the temperature, top-k, top-p and min-p, in this order."""

    temperature: float = 0.9
    top_p: float = 0.95
    top_k: int = 50
    """0: the whole vocabulary."""
    min_p: float = 0.0
    """Only tokens at least this share as likely as the likeliest (Nguyen et al. 2024, arXiv:2407.01082)."""
    repetition_penalty: float = 1.0
    """Divides a positive logit of a token that the line holds already, multiplies a negative one (Keskar et al. 2019, arXiv:1909.05858)."""
    no_repeat_ngram: int = 0
    """No sequence of so many tokens twice in a line; 0: as many as come."""
    max_tokens: int = 80
    max_weight: int = 280
    """A line that is certainly longer than so many of X's weighted characters ends there, incomplete; 0: it goes on."""
    without: str = ""
    """ASCII characters that no drawn token may hold."""

    @property
    def penalises(self) -> bool:
        """Whether what a line holds already has a say in how it goes on."""
        return self.repetition_penalty != 1 or self.no_repeat_ngram > 0


#: Sampling by name. The ancestor's: facts of huggingtweets' generation settings, without its least length of ten tokens.
PRESETS = {
    "mynah": Sampling(),
    "huggingtweets": Sampling(temperature=1.0, top_p=0.95, top_k=50, max_tokens=160),
}


@dataclass(frozen=True)
class SpeechRequest(Message):
    """`count` lines of one voice. Line i depends on the seed and i alone: not on `count`, nor on what others ask."""

    type: ClassVar[str] = "speech_request"
    id: str
    base: str
    weights: str
    """Path of adapter.safetensors."""
    sha256: str
    details: dict[str, Any]
    """Done.details of the model: the adapter's configuration is in it."""
    prompt: str
    """What the lines are to begin with; may be empty."""
    count: int
    seed: int
    sampling: Sampling
    cache: str
    device: str = "auto"
    message: str = ""
    """What the lines are to answer; may be empty."""
    author: str = ""
    """Of a joint voice, the account as which it speaks; empty: the blend."""
    waiting: bool = True
    """A person waits for it: it goes before requests for which nobody does."""


@dataclass(frozen=True)
class Line(Message):
    """One candidate, prompt included."""

    type: ClassVar[str] = "line"
    id: str
    index: int
    text: str
    complete: bool
    """The model ended the post itself."""
    log_likelihood: float
    """Mean over the drawn tokens, nats, at temperature 1."""
    relevance: float = 0.0
    """How much likelier the line is as the answer to its message than as the answer to nothing, nats a token; 0 without a message."""


@dataclass(frozen=True)
class Spoken(Message):
    """All lines of this request were sent."""

    type: ClassVar[str] = "spoken"
    id: str


# ------------------------------------------------------- to and from a carrier


@dataclass(frozen=True)
class Export(Message):
    """Write a model as a plain Hugging Face folder, or its LoRA as a peft folder."""

    type: ClassVar[str] = "export"
    base: str
    weights: str
    """Path of the stored weights."""
    sha256: str
    details: dict[str, Any]
    """Done.details of the model, or Imported.details."""
    sampling: Sampling
    """What a pipeline draws with unless it is told otherwise."""
    adapter: bool
    """The LoRA alone."""
    output: str
    """A folder that is there; what is written into it is whole once `Exported` is said."""
    cache: str


@dataclass(frozen=True)
class Exported(Message):
    """The folder is complete."""

    type: ClassVar[str] = "exported"
    base: str
    """What the hub calls the base, or its name."""
    opening: str
    """The token that a text is to begin with, which an exported tokenizer puts there itself."""
    bytes: int
    """Of the file of weights."""


@dataclass(frozen=True)
class Import(Message):
    """Read a folder that anybody may have made, or fetch one from the hub."""

    type: ClassVar[str] = "import"
    source: str
    """A folder's path, or a model's name on the hub."""
    hub: bool
    output: str
    """Folder for the file of weights; made if missing."""
    cache: str
    base: str
    """A base that is known beside those of trainer/bases.py: a LoRA of it can be read."""
    protocol: int = VERSION


@dataclass(frozen=True)
class Imported(Message):
    """The file of weights is complete on disk."""

    type: ClassVar[str] = "imported"
    weights: str
    sha256: str
    bytes: int
    base: str
    """What it was made from, as a trainer would be told it; of a whole model, for people to read."""
    method: str
    """lora, or whole: the file holds every weight, the configuration and the tokenizer."""
    details: dict[str, Any]
    """What is needed to speak with it, as in Done; `sampling` has what the folder says of it, `typical` a mean log-likelihood."""
    samples: list[str]
    card: str
    """README.md, as it came; may be empty."""
    note: dict[str, Any]
    """mynah.json, where a Mynah wrote the folder; may be empty."""


Event = Stage | Note | Step | Evaluation | Sample | Done | Failed | Ready
Speech = Line | Spoken | Failed

#: A file beside an exported model that says whose it is.
NOTE = "mynah.json"

_MESSAGES: dict[str, type[Message]] = {
    m.type: m
    for m in (Job, Order, Cluster, Cancel, Stage, Note, Step, Evaluation, Sample, Done, Failed, Ready, SpeechRequest, Line, Spoken)
}
_MESSAGES |= {m.type: m for m in (Export, Exported, Import, Imported)}
_NESTED: dict[str, Any] = {"recipe": lambda v: _build(Recipe, v), "sampling": lambda v: _build(Sampling, v)} | {
    split: lambda v: [_build(Post, post) for post in v] for split in ("train", "stop", "report")
}
_HINTS = {kind: get_type_hints(kind) for kind in (*_MESSAGES.values(), Recipe, Sampling, Post)}


def parse(line: str) -> Message:
    """Return the message that a line of JSON holds.

    Raises:
        ProtocolError: it is not JSON, its type is unknown, or its keys or their types are not that type's.
    """
    try:
        document = json.loads(line, parse_constant=_refuse_constant)
        kind = _MESSAGES[document.pop("type")]
        for key, build in _NESTED.items():
            if key in document:
                document[key] = build(document[key])
        message: Message = _build(kind, document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"not a message of protocol {VERSION}: {error!r} in {line[:200]!r}") from error
    return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _build(kind: type[Any], document: dict[str, Any]) -> Any:
    unknown = document.keys() - {f.name for f in fields(kind)}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    hints = _HINTS[kind]
    for key, value in document.items():
        if not _fits(value, hints[key]):
            raise ValueError(f"{key} must be {hints[key]}, not {value!r:.50}")
    return kind(**document)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON may stand where `hint` is declared: an int is a float, a bool is neither."""
    origin = get_origin(hint)
    if origin is types.UnionType:
        return any(_fits(value, one) for one in get_args(hint))
    if origin is list:
        return isinstance(value, list) and all(_fits(one, get_args(hint)[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict)
    if hint in (int, float):
        return type(value) is int or type(value) is hint
    return isinstance(value, hint)
