"""The speaker: a long-lived process that keeps a base and the last few voices in memory and answers one request after another."""

import json
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trainer import adapters, bases, decoding
from trainer.bases import Base
from trainer.errors import BadRequest, BadWeights, Cancelled, failure
from trainer.process import Check, Emit, Stop
from trainer.protocol import Line, ProtocolError, SpeechRequest, Spoken, parse

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

logger = logging.getLogger(__name__)

MOST_VOICES = 8
"""Adapters kept in memory, 20 MB each for the embedded base at rank 16 (fp32)."""


@dataclass
class _Loaded:
    """The base in memory and the adapters on it, the one used last at the end."""

    base: Base
    wrapped: "PeftModel | None" = None
    voices: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Speaker:
    """Answers requests. It keeps one base: a request for another drops the first with its voices (1 to 3 s to come back)."""

    def __init__(self, emit: Emit, check: Check) -> None:
        self._emit = emit
        self._check = check
        self._key: tuple[str, str, torch.device] | None = None
        self._loaded: _Loaded | None = None

    def answer(self, request: SpeechRequest) -> None:
        """Send the request's lines, each as it is finished, then Spoken.

        Raises:
            TrainerError: of each kind, with its sentence; the speaker can go on.
        """
        decoding.check_request(request.count, request.sampling)
        base = self._voice(request)
        for line in decoding.draw(base, request.prompt, request.count, request.seed, request.sampling, self._check):
            self._emit(Line(request.id, line.index, line.text, line.complete, line.log_likelihood))
        self._emit(Spoken(request.id))

    def _voice(self, request: SpeechRequest) -> Base:
        """Return the base, speaking with the request's adapter."""
        loaded = self._base(request)
        name = f"voice_{request.sha256}"
        settings = request.details.get("adapter")
        if loaded.wrapped is None or name not in loaded.voices:
            weights = adapters.read(Path(request.weights), request.sha256)
            try:
                loaded.wrapped = adapters.add(loaded.base, loaded.wrapped, name, settings, weights)
            except BaseException:
                self._forget()  # the base may be half changed
                raise
            loaded.voices[name] = None
        loaded.wrapped.set_adapter(name, inference_mode=True)
        loaded.voices.move_to_end(name)
        if len(loaded.voices) > MOST_VOICES:
            oldest, _ = loaded.voices.popitem(last=False)
            loaded.wrapped.delete_adapter(oldest)
        return loaded.base

    def _base(self, request: SpeechRequest) -> _Loaded:
        device = bases.device_of(request.device)
        key = (request.base, request.cache, device)
        if self._loaded is None or self._key != key:
            self._forget()
            self._loaded = _Loaded(bases.load(request.base, Path(request.cache), device, lambda _: None, self._check))
            self._key = key
        return self._loaded

    def _forget(self) -> None:
        self._loaded = self._key = None


def speak(emit: Emit, stop: Stop) -> None:
    """Answer the requests on stdin until it ends or SIGINT comes. A request that fails is told and ends nothing."""
    speaker = Speaker(emit, stop.check)
    with suppress(Cancelled):
        for line in stop.lines():
            request = None
            try:
                request = _request(line)
                speaker.answer(request)
            except BrokenPipeError:
                raise  # nobody listens any more
            except Exception as error:
                if not isinstance(error, (BadRequest, BadWeights, Cancelled)):
                    logger.exception("a request failed")
                emit(failure(error, request.id if request else _id_in(line)))


def _request(line: str) -> SpeechRequest:
    try:
        message = parse(line)
    except ProtocolError as error:
        raise BadRequest(f"This line is no speech request: {error}") from error
    if not isinstance(message, SpeechRequest):
        raise BadRequest(f"This line is a {message.type}, and a speaker takes a speech_request.")
    return message


def _id_in(line: str) -> str | None:
    """Return the id of a line that is no valid request, if it has one, so that whoever waits for it is told."""
    with suppress(ValueError, RecursionError, AttributeError):
        found = json.loads(line).get("id")
        return found if isinstance(found, str) else None
    return None
