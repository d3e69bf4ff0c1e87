"""The speaker: a long-lived process that keeps bases and voices in memory, and answers all requests that come, together.

One thread reads requests, and one loads a base when a request needs another; the main thread decodes, one token for every row of
every base that is speaking, and takes what came meanwhile in between. Requests of one base share its batch; bases take turns.
"""

import json
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from trainer import bases, trainable, weights, whole
from trainer.bases import Base
from trainer.decoding import Batch
from trainer.errors import CANCELLED, BadRequest, BadWeights, Cancelled, failure, first_line, tell_log
from trainer.lines import Speech, Voice
from trainer.process import Check, Emit, Stop, lines_of_stdin
from trainer.protocol import Cancel, Line, ProtocolError, SpeechRequest, Spoken, Stage, parse
from trainer.sampling import check_request

MEMORY = 4096 << 20
"""Bytes of bases and voices that are kept; what is needed at the moment is kept whatever it takes."""
KEEP = 600.0
"""Seconds that a voice is kept at hand after its last request: one that was forgotten is gone from here, too, by then."""
PATIENCE = 5.0
"""Seconds that a request for which nobody waits lets others go first, after the bot let it wait already (data/speech.py)."""
BEAT = 5.0
"""Seconds between two signs of life: a base may take minutes to come, and an answer's lines come together, with the last of them."""

Key = tuple[str, ...]
"""Of a base in memory: its name, cache and device, and the sha256 of the one voice that all its weights are."""
OF_VOICES = 3
"""Parts of the key of a base that is several voices'."""


@dataclass
class _Loaded:
    """A base in memory, and who speaks with it. A voice that was trained in full is a base of its own."""

    base: Base
    batch: Batch
    bytes: int
    used: float = 0.0
    """By the monotonic clock."""


@dataclass
class _Kept:
    """A voice in memory."""

    voice: Voice
    bytes: int
    used: float
    """By the monotonic clock."""


@dataclass
class _Loading:
    """A base on its way: the thread leaves here what came of it."""

    waiting: list[SpeechRequest] = field(default_factory=list)
    base: Base | None = None
    error: Exception | None = None

    @property
    def over(self) -> bool:
        return self.base is not None or self.error is not None


class Speaker:
    """Answers requests: `ask` takes one, `step` goes on with all of them, and what comes of it is emitted."""

    def __init__(
        self, emit: Emit, check: Check, *, wake: Callable[[], None] = lambda: None, memory: int = MEMORY, integers: bool = False
    ) -> None:
        """`wake` is called, by another thread, when a base has come; `integers`: bases speak in 8 bits, where that is quicker."""
        self._emit = emit
        self._check = check
        self._wake = wake
        self._memory = memory
        self._integers = integers
        self._loaded: OrderedDict[Key, _Loaded] = OrderedDict()
        self._loading: dict[Key, _Loading] = {}
        self._voices: OrderedDict[tuple[str, Key], _Kept] = OrderedDict()
        """By sha256 and base."""
        self._left: dict[str, int] = {}
        """Lines that each request under way still lacks."""

    @property
    def busy(self) -> bool:
        """Whether `step` would do something."""
        return any(loaded.batch.busy for loaded in self._loaded.values()) or any(one.over for one in self._loading.values())

    @property
    def idle(self) -> bool:
        """Whether every request was answered."""
        return not self._left

    def ask(self, request: SpeechRequest) -> None:
        """Take a request; a wrong one is told and changes nothing."""
        if request.id in self._left:
            error = BadRequest(f"The request {request.id!r} is under way already: give each an id of its own.")
            self._emit(failure(error, request.id))
            return
        self._left[request.id] = request.count
        try:
            check_request(request.count, request.sampling)
            key = _key(request)
            if key in self._loaded:
                self._begin(request, self._loaded[key])
            elif key in self._loading:
                self._loading[key].waiting.append(request)
            else:
                self._load(key, request)
        except Exception as error:
            self._fail(error, request.id)

    def cancel(self, id_: str) -> None:
        """End a request, if it is under way."""
        if id_ in self._left:
            self._fail(Cancelled(CANCELLED), id_)

    def tidy(self) -> None:
        """Forget the voices that nobody has asked for lately. Each request does so, and whoever waits for one, now and then."""
        needed, now = self._needed(), time.monotonic()
        for key, kept in list(self._voices.items()):
            if key[0] not in needed and now - kept.used > KEEP:
                del self._voices[key]
        for own, alone in list(self._loaded.items()):
            if own[OF_VOICES:] and not alone.batch.busy and now - alone.used > KEEP:
                del self._loaded[own]
        for loaded in self._loaded.values():
            loaded.batch.tidy({sha256 for sha256, _ in self._voices})

    def step(self) -> None:
        """Draw a token for each row of each base, and begin with the bases that have come."""
        for key, loading in [(key, loading) for key, loading in self._loading.items() if loading.over]:
            del self._loading[key]
            self._arrive(key, loading)
        for loaded in list(self._loaded.values()):
            if loaded.batch.busy:
                self._speak(loaded)

    # -------------------------------------------------------------- speaking

    def _speak(self, loaded: _Loaded) -> None:
        try:
            ended = loaded.batch.step()
        except Exception as error:  # such as memory that ran out: nobody knows whose fault it is, and the rows are in no good state
            broken, loaded.batch = loaded.batch, Batch(loaded.base)
            for id_ in {speech.id for speech in broken.speeches}:
                self._fail(error, id_)
            return
        for id_, what in ended:
            if isinstance(what, BadWeights):
                self._fail(what, id_)
                continue
            self._emit(Line(id_, what.index, what.text, what.complete, what.log_likelihood, what.relevance))
            self._left[id_] -= 1
            if not self._left[id_]:
                del self._left[id_]
                self._emit(Spoken(id_))

    def _begin(self, request: SpeechRequest, loaded: _Loaded) -> None:
        voice = self._voice(request, loaded.base)
        turn = time.monotonic() + (0 if request.waiting else PATIENCE)
        speech = Speech(
            request.id, voice, request.prompt, request.count, request.seed, request.sampling, request.message, request.author, turn
        )
        loaded.batch.add(speech)
        loaded.used = time.monotonic()
        self._loaded.move_to_end(_key(request))
        self._make_room()

    def _fail(self, error: Exception, id_: str) -> None:
        tell_log(error)
        self._left.pop(id_, None)
        for loaded in self._loaded.values():
            loaded.batch.drop(id_)
        for loading in self._loading.values():
            loading.waiting = [request for request in loading.waiting if request.id != id_]
        self._emit(failure(error, id_))

    # --------------------------------------------------------------- loading

    def _load(self, key: Key, request: SpeechRequest) -> None:
        loading = self._loading[key] = _Loading([request])

        def load() -> None:
            try:
                loading.base = _base(request, self._check, integers=self._integers)
            except Exception as error:
                loading.error = error
            self._wake()

        # A daemon: a download that never ends shall not keep the process from ending.
        threading.Thread(target=load, name="loader", daemon=True).start()

    def _arrive(self, key: Key, loading: _Loading) -> None:
        if loading.base is None:
            for request in list(loading.waiting):
                self._fail(loading.error or BadRequest("The base did not come."), request.id)
            return
        loaded = self._loaded[key] = _Loaded(loading.base, Batch(loading.base), loading.base.bytes)
        for request in loading.waiting:
            try:
                self._begin(request, loaded)
            except Exception as error:
                self._fail(error, request.id)
        self._make_room()

    def _voice(self, request: SpeechRequest, base: Base) -> Voice | None:
        """Return the LoRA that a request speaks with; None for a voice that was trained in full."""
        settings = request.details.get("adapter")
        if settings is None:
            return None
        key = request.sha256, _key(request)
        if key not in self._voices:
            stored = weights.read(Path(request.weights), request.sha256)
            if stored.lora is None:
                raise BadWeights("These weights are a full model's, and their card says LoRA: train the voice again.")
            lora = weights.fit(stored.lora, base)
            size = sum(tensor.numel() * tensor.element_size() for pair in lora.values() for tensor in pair)
            scale = weights.scale(settings)
            if not all((b * scale).isfinite().all() for _, b in lora.values()):  # times the 0 of others it would be no number for them
                raise BadWeights("This voice's weights are beyond all bounds: train the voice again.")
            self._voices[key] = _Kept(Voice(request.sha256, lora, scale), size, 0.0)
        self._voices.move_to_end(key)
        self._voices[key].used = time.monotonic()
        return self._voices[key].voice

    def _make_room(self) -> None:
        """Forget what was used longest ago, voices first, until the rest is within bounds; what is speaking stays."""
        self.tidy()
        needed = self._needed()
        for key in [key for key in self._voices if key[0] not in needed]:
            if self.bytes <= self._memory:
                return
            del self._voices[key]
        for base in [base for base, loaded in self._loaded.items() if not loaded.batch.busy]:
            if self.bytes > self._memory:
                del self._loaded[base]

    def _needed(self) -> set[str]:
        """Return the sha256 of the voices that are speaking."""
        return {speech.voice.key for loaded in self._loaded.values() for speech in loaded.batch.speeches if speech.voice}

    @property
    def bytes(self) -> int:
        """Memory that bases, voices, and what is speaking take."""
        return sum(loaded.bytes + loaded.batch.bytes for loaded in self._loaded.values()) + sum(
            kept.bytes for kept in self._voices.values()
        )


def _key(request: SpeechRequest) -> Key:
    """Return what decides which model in memory answers a request."""
    shared = request.base, request.cache, request.device
    return shared if request.details.get("adapter") else (*shared, request.sha256)


def _base(request: SpeechRequest, check: Check, *, integers: bool) -> Base:
    """Load the base of a request, for speaking alone, with every weight of its voice if that was trained in full."""
    device = bases.device_of(request.device)
    if request.details.get("whole"):
        return bases.pack(whole.load(Path(request.weights), request.sha256, request.base, device), integers=integers)
    stored = None if request.details.get("adapter") else weights.read(Path(request.weights), request.sha256)
    base = bases.load(request.base, Path(request.cache), device, lambda _: None, check)
    if stored is not None:
        try:
            trainable.load_full(base.model, stored.full or {})
        except ValueError as error:
            raise BadWeights(f"These weights do not fit the base {base.name} ({first_line(error)}): train the voice again.") from error
    return bases.pack(base, integers=integers)


def speak(emit: Emit, stop: Stop, memory: int = MEMORY, *, integers: bool = False) -> None:
    """Answer the requests on stdin until it ends or SIGINT comes. A request that fails is told and ends nothing."""
    inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    """What the main thread is to do before its next step; None: stdin has ended."""
    speaker = Speaker(emit, stop.check, wake=lambda: inbox.put(lambda: None), memory=memory, integers=integers)

    def listen() -> None:
        for line in lines_of_stdin():
            inbox.put(partial(_hear, line, speaker, emit))
        inbox.put(None)

    threading.Thread(target=listen, name="requests", daemon=True).start()
    more, alive = True, time.monotonic()
    # Around all of it: what is made in this mode may be changed in it alone, and rows also leave when a request is cancelled.
    with torch.inference_mode(), suppress(Cancelled):
        while more or not speaker.idle:
            while not speaker.busy or not inbox.empty():
                try:
                    with stop.waiting():
                        heard = inbox.get(timeout=KEEP / 10 if speaker.idle else BEAT)
                except queue.Empty:
                    speaker.tidy()
                    if not speaker.idle:
                        emit(Stage("base"))
                    continue
                if heard is None:
                    more = False
                    break
                heard()
            stop.check()
            if time.monotonic() - alive > BEAT:  # the first line may be long in coming
                alive = time.monotonic()
                emit(Stage("speaking"))
            speaker.step()


def _hear(line: str, speaker: Speaker, emit: Emit) -> None:
    try:
        message = parse(line)
    except ProtocolError as error:
        emit(failure(BadRequest(f"This line is no speech request: {error}"), _id_in(line)))
        return
    match message:
        case SpeechRequest():
            speaker.ask(message)
        case Cancel(job=id_):
            speaker.cancel(id_)
        case _:
            wrong = BadRequest(f"This line is a {message.type}, and a speaker takes a speech_request or a cancel.")
            emit(failure(wrong, _id_in(line)))


def _id_in(line: str) -> str | None:
    """Return the id of a line that is no valid request, if it has one, so that whoever waits for it is told."""
    with suppress(ValueError, RecursionError, AttributeError):
        found = json.loads(line).get("id")
        return found if isinstance(found, str) else None
    return None
