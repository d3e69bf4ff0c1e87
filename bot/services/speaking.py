"""Speaking: a wish for lines is a row, the speaker makes candidates, safety judges them, and the first that pass are said."""

import asyncio
import os
import random
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from sqlite_utils import Database

from bot.errors import BadRequestError, MynahError, SpeechFailedError
from bot.executors.speaker import Speaker
from bot.services import safety
from bot.settings import Settings
from data import jobs, models, speech
from data.handles import voice_name
from data.store import Store
from trainer import protocol

MAX_LINES = 20
MAX_PROMPT = 1000  # characters; far beyond a post, and far within every base's context
SPARE = 3  # candidates above the number asked for: about one in ten is refused
CANDIDATES_A_ROUND = 100
KEPT_INDEXES = 8
ROUNDS = 3  # of candidates, before the answer is what there is
log = structlog.get_logger()


@dataclass(frozen=True)
class Spoken:
    """The answer to a request: the lines to show, and everything that came, with verdicts."""

    request: speech.Request
    lines: list[speech.Generation]
    candidates: list[speech.Generation]


class Speaking:
    """Takes requests for lines from any process, and answers them in the one that leads."""

    def __init__(self, store: Store, settings: Settings, speaker: Speaker) -> None:
        self._store = store
        self._settings = settings
        self._speaker = speaker
        self._indexed: dict[str, safety.TrainingPosts] = {}

    async def request(
        self,
        voice: str,
        *,
        by: str,
        prompt: str = "",
        count: int | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        purpose: speech.Purpose = speech.Purpose.TALK,
    ) -> speech.Request:
        """Write down a wish for lines of a voice (its name, or its one handle).

        Raises:
            NotStoredError: the voice has no model.
            BadRequestError: the prompt is too long, or the count or the seed out of range.
        """
        wanted = self._settings.speaker
        count = wanted.count if count is None else count
        if not 1 <= count <= MAX_LINES:
            raise BadRequestError(f"Ask for 1 to {MAX_LINES} lines at a time.")
        if len(prompt) > MAX_PROMPT:
            raise BadRequestError(f"A prompt has at most {MAX_PROMPT} characters; this one has {len(prompt)}.")
        if seed is not None and not 0 <= seed < 2**32:
            raise BadRequestError("A seed is a whole number from 0 to 4294967295.")
        temperature = wanted.temperature if temperature is None else temperature
        if not 0 <= temperature <= 2:
            raise BadRequestError("Creativity is a number from 0 to 2.")
        sampling = protocol.Sampling(temperature, wanted.top_p, wanted.top_k, wanted.max_tokens)
        model = await self._store.read(models.latest, voice_name(voice.split("-")))
        return await self._store.write(
            speech.add,
            voice=model.voice,
            model=model.id,
            prompt=" ".join(prompt.split()),
            count=count,
            seed=random.randrange(2**32) if seed is None else seed,  # noqa: S311 - variety, not secrecy
            sampling=vars(sampling),
            purpose=purpose,
            requested_by=by,
        )

    async def answer(self, request_id: int) -> Spoken:
        """Return the lines of a request once they are there.

        Raises:
            SpeechFailedError: none came, or none may be said.
            NotStoredError: the voice was forgotten meanwhile.
        """
        while (request := await self._store.read(speech.get, request_id)).status not in ("done", "failed"):
            await self._store.changed()
        if request.status == "failed":
            raise SpeechFailedError(request.error or "No line came: ask again.")
        candidates = await self._store.read(speech.generations, request_id)
        return Spoken(request, [line for line in candidates if line.chosen], candidates)

    # ---------------------------------------------------- in the process that leads

    async def recover(self) -> None:
        """End what a dead owner left half answered."""
        await self._store.write(speech.fail_interrupted)

    async def run_forever(self) -> None:
        """Answer requests until cancelled."""
        while True:
            if not await self.answer_next():
                await self._store.changed()

    async def answer_next(self) -> bool:
        """Answer the request whose turn it is; say whether there was one."""
        request = await self._store.write(speech.start_next)
        if request is None:
            return False
        try:
            candidates = await self._candidates(request)
            await self._store.write(speech.finish, request.id, candidates)
        except asyncio.CancelledError:
            await self._store.write(speech.fail, request.id, "Mynah was stopped before it answered: ask again.")
            raise
        except MynahError as error:
            await self._store.write(speech.fail, request.id, str(error))
        except Exception:
            log.exception("speaking failed", request=request.id, voice=request.voice)
            await self._store.write(
                speech.fail, request.id, "Mynah failed to speak for a reason of its own, which is in its log: ask again."
            )
        return True

    async def close(self) -> None:
        """Stop the speaker."""
        await self._speaker.close()

    async def _candidates(self, request: speech.Request) -> list[speech.Generation]:
        model = await self._store.read(models.get, request.model)
        training = await self._training_of(model.corpus)
        weights = await self._cached_weights(model)
        candidates: list[speech.Generation] = []
        missing = request.count
        for number in range(ROUNDS):
            wish = _speech_request(request, model, weights, self._settings, number, missing + SPARE)
            async with aclosing(self._speaker.speak(wish)) as lines:
                async for line in lines:
                    verdict = await asyncio.to_thread(safety.judge, line.text, request.purpose, training)
                    place = number * CANDIDATES_A_ROUND + line.index
                    candidates.append(speech.Generation(place, line.text, line.log_likelihood, verdict, chosen=False))
            candidates.sort(key=lambda line: line.number)
            chosen = _choose(candidates, request.count)
            missing = request.count - len(chosen)
            if not missing:
                break
        if not chosen:
            reasons = ", ".join(sorted({line.verdict for line in candidates} - {speech.PASSED})) or "none came"
            raise SpeechFailedError(f"None of {len(candidates)} lines of {request.voice} may be said ({reasons}): try another prompt.")
        return [replace(line, chosen=line.number in chosen) for line in candidates]

    async def _training_of(self, corpus: str) -> safety.TrainingPosts:
        """Return the index of a corpus' posts; the last few are kept."""
        if corpus not in self._indexed:
            posts = await self._store.read(_posts, corpus)
            if len(self._indexed) >= KEPT_INDEXES:
                self._indexed.pop(next(iter(self._indexed)))
            self._indexed[corpus] = await asyncio.to_thread(safety.TrainingPosts, posts)
        return self._indexed[corpus]

    async def _cached_weights(self, model: models.Model) -> Path:
        """Return a file of a model's weights; the cache is rebuilt from the database where it lacks one."""
        path = adapter_file(self._settings, model.sha256)
        if not path.is_file():
            weights = await self._store.read(models.load_weights, model.id)
            await asyncio.to_thread(_write_whole, path, weights)
        return path


def adapter_file(settings: Settings, sha256: str) -> Path:
    """Return where weights of this hash are unpacked for the speaker."""
    return settings.data_dir / "adapters" / f"{sha256}.safetensors"


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)


def _choose(candidates: list[speech.Generation], count: int) -> set[int]:
    """Return the numbers of the first lines that passed and differ from each other."""
    chosen: dict[str, int] = {}
    for line in candidates:
        if line.verdict == speech.PASSED and len(chosen) < count:
            chosen.setdefault(line.text.casefold(), line.number)
    return set(chosen.values())


def _posts(db: Database, sha256: str) -> list[str]:
    corpus = jobs.corpus_of(db, sha256)
    return [post.text for split in (corpus.train, corpus.stop, corpus.report) for post in split]


def _speech_request(
    request: speech.Request, model: models.Model, weights: Path, settings: Settings, number: int, count: int
) -> protocol.SpeechRequest:
    return protocol.SpeechRequest(
        id=f"{request.id}.{number}",
        base=model.base,
        weights=str(weights),
        sha256=model.sha256,
        details=model.result["details"],
        prompt=request.prompt,
        count=count,
        seed=(request.seed + number) % 2**32,
        sampling=protocol.Sampling(**request.sampling),
        cache=str(settings.cache),
        device=settings.speaker.device,
    )
