"""The speaker: a long-lived process that keeps a base and the last few voices in memory and answers one request after another."""

import json
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer import bases, decoding, lora, trainable, weights
from trainer.bases import Base
from trainer.errors import BadRequest, BadWeights, Cancelled, failure, first_line, tell_log
from trainer.lora import Lora
from trainer.process import Check, Emit, Stop
from trainer.protocol import Line, ProtocolError, SpeechRequest, Spoken, parse

MOST_VOICES = 8
"""LoRAs kept in memory, 10 MB each for the embedded base at rank 8 (fp32)."""


class Speaker:
    """Answers requests. It keeps one base: a request for another drops the first with its voices (1 to 3 s to come back).

    A voice that was trained in full is a base of its own.
    """

    def __init__(self, emit: Emit, check: Check) -> None:
        self._emit = emit
        self._check = check
        self._key: tuple[str, ...] | None = None
        self._base: Base | None = None
        self._voices: OrderedDict[str, Lora] = OrderedDict()

    def answer(self, request: SpeechRequest) -> None:
        """Send the request's lines, each as it is finished, then Spoken.

        Raises:
            TrainerError: of each kind, with its sentence; the speaker can go on.
        """
        decoding.check_request(request.count, request.sampling)
        with self._speaking(request) as base:
            lines = decoding.draw(
                base,
                request.prompt,
                request.count,
                request.seed,
                request.sampling,
                self._check,
                message=request.message,
                author=request.author,
            )
            for line in lines:
                self._emit(Line(request.id, line.index, line.text, line.complete, line.log_likelihood))
        self._emit(Spoken(request.id))

    @contextmanager
    def _speaking(self, request: SpeechRequest) -> Iterator[Base]:
        """Yield the base, speaking with the request's voice."""
        settings = request.details.get("adapter")
        if settings is None:
            yield self._full(request)
            return
        base = self._keep((request.base, request.cache, request.device), request)
        voice = self._voice(request, base)
        with lora.wearing(base.layers, [voice], float(settings["scale"])):
            yield base

    def _voice(self, request: SpeechRequest, base: Base) -> Lora:
        if request.sha256 not in self._voices:
            stored = weights.read(Path(request.weights), request.sha256)
            if stored.lora is None:
                raise BadWeights("These weights are a full model's, and their card says LoRA: train the voice again.")
            self._voices[request.sha256] = weights.fit(stored.lora, base)
        self._voices.move_to_end(request.sha256)
        if len(self._voices) > MOST_VOICES:
            self._voices.popitem(last=False)
        return self._voices[request.sha256]

    def _full(self, request: SpeechRequest) -> Base:
        """Return the base with every weight of a voice that was trained in full."""
        key = request.base, request.cache, request.device, request.sha256
        if self._key == key and self._base is not None:
            return self._base
        stored = weights.read(Path(request.weights), request.sha256)
        base = self._keep(key, request)
        try:
            trainable.load_full(base.model, stored.full or {})
        except ValueError as error:
            self._forget()  # half changed
            raise BadWeights(f"These weights do not fit the base {base.name} ({first_line(error)}): train the voice again.") from error
        return base

    def _keep(self, key: tuple[str, ...], request: SpeechRequest) -> Base:
        if self._base is None or self._key != key:
            self._forget()
            self._base = bases.load(request.base, Path(request.cache), bases.device_of(request.device), lambda _: None, self._check)
            self._key = key
        return self._base

    def _forget(self) -> None:
        self._key = self._base = None
        self._voices.clear()


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
                tell_log(error)
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
