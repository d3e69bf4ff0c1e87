"""Speaking: a wish for lines is a row, the speaker makes candidates, safety judges them, and the best that pass are said."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError, BadWeightsError, MynahError, SpeechFailedError, StoreError
from bot.executors.speaker import Speaker
from bot.services import weights
from bot.services.answers import Answer
from bot.services.learned import Learned
from bot.services.profanity import Level
from bot.services.quotas import check_lines, quotas_of
from bot.services.safety import Safety, Verdict
from bot.settings import Quotas, Settings
from data import models, servers, speech
from data.cleaning import training_text, without_controls
from data.consents import ConsentError
from data.handles import normalise_handle, voice_name
from data.origin import Origin
from data.store import Store
from trainer import protocol

MAX_LINES = 20
MAX_PROMPT = 1000  # characters, of a message to answer as well; far beyond a post, and far within every base's context
SPARE = 3  # candidates above the number asked for, at least: about one in ten is refused
CANDIDATES_A_ROUND = 100
AT_ONCE = 32  # requests; the speaker decodes their lines together
STORE_SECONDS = 5.0  # before the database is tried again
ROUNDS = 3  # of candidates, before the answer is what there is
First = Callable[[], AbstractAsyncContextManager[None]]
log = structlog.get_logger()


@dataclass(frozen=True)
class Spoken:
    """The answer to a request."""

    request: speech.Request
    lines: list[speech.Generation]
    """Those to show, the best first."""
    candidates: list[speech.Generation]
    """Everything that came, in this order, with scores and verdicts."""


class Speaking:
    """Takes requests for lines from any process, and answers them in the one that leads."""

    def __init__(self, store: Store, settings: Settings, speaker: Speaker, first: First = nullcontext) -> None:
        """`first` is entered while somebody waits for a line."""
        self._first = first
        self._store = store
        self._settings = settings
        self._speaker = speaker
        self._safety = Safety(settings.safety, settings.x.suffix)
        self._learned = Learned(store)
        self._unwritten: dict[int, str] = {}
        """Why a request has no answer, as long as the disk is too full to write it."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """By voice: its answers are settled one after another, so that no two say the same line."""

    async def request(
        self,
        voice: str,
        *,
        by: str,
        origin: Origin | None = None,
        version: int | None = None,
        author: str = "",
        message: str = "",
        prompt: str = "",
        count: int | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        purpose: speech.Purpose = speech.Purpose.TALK,
    ) -> speech.Request:
        """Write down a wish for lines of a voice (its name, or its one handle).

        A line holds its prompt and is judged whole; so a prompt that breaks a rule is refused at once.

        Args:
            voice: its name.
            by: who asks.
            origin: where in Discord, which is what quotas count; None: it counts against none.
            version: which of its versions speaks; None: the current one.
            author: the account as which a joint voice speaks; empty: the blend.
            message: what the lines are to answer; it is cleaned as posts are, since that is what was learned from.
            prompt: what the lines are to begin with.
            count: how many lines; None: as many as the settings say.
            seed: the same seed gives the same lines, though the voice said them before; None: any.
            temperature: 0 to 2; None: what the settings say.
            purpose: where the lines go; who talks is answered first.

        Raises:
            NotStoredError: the voice has no model, or not this version.
            BadHandleError: the author is no handle.
            ConsentError: the operator blocked an account that it is made of.
            QuotaError: the member asked for too many lines lately.
            BadRequestError: the prompt or the message is too long, the prompt must not be said, the count or the seed is out of range, or
                this version cannot speak as this author.
        """
        wanted = self._settings.speaker
        count = wanted.count if count is None else count
        if not 1 <= count <= MAX_LINES:
            raise BadRequestError(f"Ask for 1 to {MAX_LINES} lines at a time.")
        for what, text in (("prompt", prompt), ("message to answer", message)):
            if len(text) > MAX_PROMPT:
                raise BadRequestError(f"A {what} has at most {MAX_PROMPT} characters; this one has {len(text)}.")
        answered = training_text(message)
        if message and not answered:
            raise BadRequestError("That message holds nothing to answer once links and white space are taken out: give one with words.")
        if seed is not None and not 0 <= seed < 2**32:
            raise BadRequestError("A seed is a whole number from 0 to 4294967295.")
        name = voice_name(voice.split("-"))
        wanted_version = (models.current, name) if version is None else (models.version, name, version)
        model = await self._store.read(*wanted_version)
        for handle in self._settings.consent.blocked_handles.intersection(model.handles):
            raise ConsentError(f"@{handle} is blocked by the operator: no voice made of it speaks.")
        sampling = own_sampling(model, self._settings)
        temperature = sampling.temperature if temperature is None else temperature
        if not 0 <= temperature <= 2:
            raise BadRequestError("Creativity is a number from 0 to 2.")
        # No line with a mention may be said: one that is not drawn need not be thrown away.
        sampling = replace(sampling, temperature=temperature, without="@")
        prompt = without_controls(" ".join(prompt.split()))
        if refused := await self.refusal(prompt, origin.server if origin else None):
            raise BadRequestError(f"That prompt {refused.reason}, so no line that begins with it may be said: give another.")
        return await self._store.write(
            _add,
            self._settings.quotas,
            voice=model.voice,
            model=model.id,
            author=_author(model, author),
            message=answered,
            prompt=prompt,
            count=count,
            seed=random.randrange(2**32) if seed is None else seed,  # noqa: S311 - variety, not secrecy
            repeatable=seed is not None,
            sampling=vars(sampling),
            purpose=purpose,
            requested_by=by,
            origin=origin,
        )

    async def answer(self, request_id: int) -> Spoken:
        """Return the lines of a request once they are there.

        Raises:
            SpeechFailedError: none came, or none may be said.
            NotStoredError: the voice was forgotten meanwhile.
        """
        change = self._store.change
        while (request := await self._store.read(speech.get, request_id)).status not in ("done", "failed"):
            if why := self._unwritten.get(request_id):
                raise SpeechFailedError(why)
            await self._store.changed(since=change)
            change = self._store.change
        if request.status == "failed":
            raise SpeechFailedError(request.error or "No line came: ask again.")
        candidates = await self._store.read(speech.generations, request_id)
        chosen = [line for line in candidates if line.chosen]
        return Spoken(request, sorted(chosen, key=lambda line: (-line.score, line.number)), candidates)

    async def refusal(self, text: str, server: int | None) -> Verdict | None:
        """Return the rule that keeps a text from being shown where lines are, or None; copies and repeats are no matter here.

        `server`: whose profanity level counts; None: outside servers.
        """
        return await asyncio.to_thread(self._safety.refusal, text, await self._level(server))

    async def allowed(self, lines: Sequence[str], server: int | None) -> list[str]:
        """Return those lines, said long ago, that may be shown in a server; None: outside servers."""
        level = await self._level(server)
        return await asyncio.to_thread(lambda: [line for line in lines if not self._safety.refusal(line, level)])

    async def _level(self, server: int | None) -> Level | None:
        """Return the profanity level that was set in a server; None: none was."""
        return (await self._store.read(servers.get, server)).profanity

    # ---------------------------------------------------- in the process that leads

    async def recover(self) -> None:
        """End what a dead owner left half answered."""
        await self._store.write(speech.fail_interrupted)

    async def run_forever(self) -> None:
        """Answer requests, many at a time, until cancelled."""
        room = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as answers:
                while True:
                    await room.acquire()
                    answers.create_task(self._answer(await self._next())).add_done_callback(lambda _: room.release())
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _next(self) -> speech.Request:
        """Return the request that is to be answered next, once there is one."""
        while True:
            try:
                for number, why in list(self._unwritten.items()):
                    await self._store.write(speech.fail, number, why)
                    self._unwritten.pop(number, None)
                await self._learned.tidy()
                # Looked at before it is written, so that an idle service writes nothing; and last, so that no change is slept through.
                if await self._store.read(speech.waiting) and (request := await self._store.write(speech.start_next)):
                    return request
            except StoreError as error:
                log.warning("requests wait for the database", error=str(error))
                await asyncio.sleep(STORE_SECONDS)
            await self._store.changed()

    async def _fail(self, request_id: int, why: str) -> None:
        """Tell whoever asked why there is no answer, also where it cannot be written."""
        try:
            await self._store.write(speech.fail, request_id, why)
        except StoreError:
            self._unwritten[request_id] = why
            self._store.ring()

    async def _answer(self, request: speech.Request) -> None:
        """Answer one request; whatever goes wrong is told to whoever asked."""
        structlog.contextvars.bind_contextvars(request=request.id, voice=request.voice)  # for this task, which is its own
        try:
            async with self._first():
                answer, failure = await self._drawn(request)
            turn = self._turns.setdefault(request.voice, asyncio.Lock())
            async with turn:
                await answer.settle()
                if answer.missing == request.count:
                    await self._store.write(speech.record, request.id, answer.candidates)  # for whoever asks why
                    why = f"None of {len(answer.candidates)} lines of {request.voice} may be said ({answer.verdicts or 'none came'})"
                    raise failure or SpeechFailedError(f"{why}: try another prompt.")
                await self._store.write(speech.finish, request.id, answer.candidates)
        except asyncio.CancelledError:
            await self._store.write(speech.fail, request.id, "Mynah was stopped before it answered: ask again.")
            raise
        except MynahError as error:
            await self._fail(request.id, str(error))
        except Exception:
            log.exception("speaking failed")
            await self._fail(request.id, "Mynah failed to speak for a reason of its own, which is in its log: ask again.")

    async def close(self) -> None:
        """Stop the speaker."""
        await self._speaker.close()

    async def _drawn(self, request: speech.Request) -> tuple[Answer, SpeechFailedError | None]:
        """Return what was drawn for a request, and what ended it early."""
        model = await self._store.read(models.get, request.model)
        level = await self._level(request.server)
        answer = await Answer.begin(request, model, self._safety, self._learned, self._store, level)
        failure: SpeechFailedError | None = None
        for number in range(ROUNDS):
            drawn = max(answer.missing + SPARE, self._settings.speaker.candidates)
            try:
                async with aclosing(self._said(request, model, number, drawn)) as lines:
                    async for line in lines:
                        await answer.take(number * CANDIDATES_A_ROUND + line.index, line)
            except SpeechFailedError as error:  # what came before it is an answer, if it may be said
                failure = error
            await answer.choose()
            if failure or not answer.missing:
                break
        return answer, failure

    async def _said(self, request: speech.Request, model: models.Model, number: int, count: int) -> AsyncGenerator[protocol.Line]:
        """Yield the lines of one round; where the speaker finds the file of weights bad, it is laid down anew, once."""
        came: set[int] = set()
        for anew in (False, True):
            file = await weights.lay_down(self._store, self._settings, model, anew=anew)
            wish = _speech_request(request, model, file, self._settings, number, count)
            try:
                async with aclosing(self._speaker.speak(wish)) as lines:
                    async for line in lines:
                        if line.index not in came:
                            came.add(line.index)
                            yield line
                return
            except BadWeightsError as error:
                if anew:
                    raise
                log.warning("a file of weights is laid down anew", voice=model.voice, version=model.version, error=str(error))


def _add(db: Database, /, quotas: Quotas, *, origin: Origin | None, **wish: Any) -> speech.Request:
    request = speech.add(db, origin=origin, **wish)
    if origin:
        check_lines(db, origin, quotas_of(db, origin.server, quotas))
    return request


def own_sampling(model: models.Model, settings: Settings) -> protocol.Sampling:
    """Return how a model's lines are drawn: as the settings say, but for what an imported one says of itself."""
    return replace(settings.speaker.sampling, **model.result["details"].get("sampling", {}))


def _author(model: models.Model, handle: str) -> str:
    """Return the account as which a model is to speak: empty for the blend, and for a voice that has one account alone.

    Raises:
        BadHandleError, BadRequestError: it cannot.
    """
    if not handle:
        return ""
    author = normalise_handle(handle)
    if author not in model.handles:
        there = " or ".join(f"@{name}" for name in model.handles)
        raise BadRequestError(f"{model.voice} cannot speak as @{author}: name {there}.")
    if len(model.handles) == 1:
        return ""
    if author not in model.result["details"].get("authors", ()):
        raise BadRequestError(
            f"Version {model.version} of {model.voice} did not learn which account wrote what:"
            f" `mynah train {' '.join(model.handles)}` makes one that can speak as @{author}."
        )
    return author


def _speech_request(
    request: speech.Request, model: models.Model, file: Path, settings: Settings, number: int, count: int
) -> protocol.SpeechRequest:
    return protocol.SpeechRequest(
        id=f"{request.id}.{number}",
        base=model.base,
        weights=str(file),
        sha256=model.sha256,
        details=model.result["details"],
        prompt=request.prompt,
        count=count,
        seed=(request.seed + number) % 2**32,
        sampling=protocol.Sampling(**request.sampling),
        cache=str(settings.cache),
        device=settings.speaker.device,
        message=request.message,
        author=request.author,
        waiting=request.purpose is not speech.Purpose.POST,
    )
