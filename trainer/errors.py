"""The errors of trainer/, and the one place where any exception becomes a `Failed` with a sentence for a person.

    TrainerError             code in the protocol    who can do something
    ├── Cancelled            cancelled               nobody needs to
    ├── BadJob               bad_job                 whoever wrote the job
    ├── BadRequest           bad_request             whoever wrote the speech request
    ├── BadWeights           bad_weights             the bot: lay the file down anew
    ├── BaseUnavailable      base_unavailable        the operator: network, name, disk
    ├── TooLittleText        too_little_text         whoever chose the posts
    ├── NotFinite            not_finite              whoever chose the recipe
    ├── OutOfMemory          out_of_memory           the operator: memory, recipe
    └── NoCluster            lost                    the operator: the cluster; the job begins again

Each text is one sentence, or two, that says what to do next.
"""

# ruff: noqa: N818 - the names are read aloud in the tree above

import errno
import logging
from typing import ClassVar

from trainer import protocol

logger = logging.getLogger(__name__)


class TrainerError(Exception):
    """Base of everything that trainer/ raises on purpose."""

    code: ClassVar[str] = protocol.INTERNAL


class Cancelled(TrainerError):
    """SIGINT came."""

    code = protocol.CANCELLED


#: What Cancelled says.
CANCELLED = "It was cancelled; start it again whenever you like."


class BadJob(TrainerError):
    """The job cannot be done as it is written."""

    code = protocol.BAD_JOB


class BadRequest(TrainerError):
    """The speech request cannot be answered as it is written."""

    code = protocol.BAD_REQUEST


class BadWeights(TrainerError):
    """The adapter is missing, damaged, or not this base's."""

    code = protocol.BAD_WEIGHTS


class BaseUnavailable(TrainerError):
    """The base model could not be had."""

    code = protocol.BASE_UNAVAILABLE


class TooLittleText(TrainerError):
    """A split holds no post."""

    code = protocol.TOO_LITTLE_TEXT


class NotFinite(TrainerError):
    """A loss or a gradient became NaN or infinite."""

    code = protocol.NOT_FINITE


class OutOfMemory(TrainerError):
    """Host or device memory ran out."""

    code = protocol.OUT_OF_MEMORY


class NoCluster(TrainerError):
    """The cluster cannot be reached, or has no node that fits."""

    code = protocol.LOST


#: What torch says when memory runs out: CUDA, the CPU allocator, cuBLAS. On a CPU it is a bare RuntimeError.
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")

#: How safetensors, written in Rust, spells ENOSPC.
_DISK_WORDS = "No space left on device"


def failure(error: BaseException, request: str | None = None) -> protocol.Failed:
    """Return what to tell of `error`; `request` is the id of the speech request that failed."""
    if isinstance(error, TrainerError):
        return protocol.Failed(error.code, str(error), request)
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in str(error) for word in _MEMORY_WORDS)):
        sentence = "Memory ran out: close what else uses it, or take a smaller base, fewer tokens a step or fewer lines, and try again."
        return protocol.Failed(OutOfMemory.code, sentence, request)
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or _DISK_WORDS in str(error):
        return protocol.Failed(protocol.INTERNAL, "The disk is full: free some space and try again.", request)
    if isinstance(error, OSError) and error.filename:
        sentence = f"{error.filename} cannot be used ({error.strerror}): set it right and try again."
        return protocol.Failed(protocol.INTERNAL, sentence, request)
    return protocol.Failed(
        protocol.INTERNAL,
        f"The trainer failed unexpectedly ({type(error).__name__}: {first_line(error)}): see its log, and report it.",
        request,
    )


def tell_log(error: BaseException) -> None:
    """Log an error before it becomes a sentence: whole if nobody foresaw it, its cause if it has one."""
    if not isinstance(error, TrainerError):
        logger.error("failed", exc_info=error)
    elif error.__cause__:
        logger.info("caused by", exc_info=error)


def first_line(error: BaseException) -> str:
    """Return the start of an exception's text, fit to stand inside a sentence."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0][:200].rstrip(".:; ") or type(error).__name__
