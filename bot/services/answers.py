"""One answer in the making: each line that comes is judged and scored at once, and of those that pass the best are chosen."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from bot.services import choosing
from bot.services.learned import Indexed, Learned
from bot.services.profanity import Level
from bot.services.safety import Safety, Said
from data import speech
from data.models import Model
from data.store import Store
from trainer.protocol import Line

REMEMBERED = 500  # lines of a voice that it does not repeat


class Answer:
    """The candidates of a request so far."""

    def __init__(
        self,
        request: speech.Request,
        model: Model,
        safety: Safety,
        learned: Indexed,
        before: Sequence[tuple[str, str]],
        said: Said,
        store: Store,
        level: Level | None,
    ) -> None:
        self._request = request
        self._store = store
        self._typical = choosing.typical(model)
        self._safety = safety
        self._level = level
        self._learned = learned
        self._before = frozenset(before)
        self._said = said
        self._judged: list[speech.Generation] = []
        self.candidates: list[speech.Generation] = []
        """In the order of their numbers, as `choose` left them."""

    @classmethod
    async def begin(
        cls, request: speech.Request, model: Model, safety: Safety, learned: Learned, store: Store, level: Level | None
    ) -> "Answer":
        """Return an answer without candidates; `level` is the profanity level of the server where it is said, if one was set there.

        It may be neither the message nor what the voice said before, unless a person named the seed to hear that again.
        """
        before = [] if request.repeatable else await store.read(speech.said_before, request.voice, REMEMBERED)
        said = await asyncio.to_thread(Said, before)
        if request.message:
            said.add(request.message)
        return cls(request, model, safety, await learned.of(model.job, request.author), before, said, store, level)

    @property
    def missing(self) -> int:
        """How many lines the answer lacks."""
        return self._request.count - sum(line.chosen for line in self.candidates)

    async def take(self, number: int, line: Line) -> None:
        """Judge one candidate more, off the event loop; numbers make the order."""
        self._judged.append(await asyncio.to_thread(self._generation, number, line))

    async def choose(self) -> None:
        """Choose anew among all candidates so far."""
        self._judged.sort(key=lambda line: line.number)
        self.candidates = await asyncio.to_thread(choosing.choose, self._judged, self._request.count, self._request.prompt)

    async def settle(self) -> None:
        """Choose anew if the voice said one of the lines in another answer meanwhile; nobody else may be at this point."""
        if self._request.repeatable:
            return
        now = await self._store.read(speech.said_before, self._request.voice, REMEMBERED)
        # What was said before the beginning was judged by then.
        meanwhile = await asyncio.to_thread(Said, [line for line in now if line not in self._before])
        prompt = self._request.prompt
        # All that may be said, and not the chosen alone, in whose places the next ones would come.
        repeated = {line.number for line in self.candidates if line.verdict == speech.PASSED and meanwhile.has(line.text, prompt)}
        if repeated:
            self._judged = [
                replace(line, verdict="repeat", reason="repeats what the voice said meanwhile") if line.number in repeated else line
                for line in self._judged
            ]
            await self.choose()

    @property
    def verdicts(self) -> str:
        """How often each verdict was given, the commonest first: `copy 5, mention 3`."""
        return ", ".join(f"{verdict} {times}" for verdict, times in Counter(line.verdict for line in self.candidates).most_common())

    def _generation(self, number: int, line: Line) -> speech.Generation:
        prompt, complete, level = self._request.prompt, line.complete, self._level
        verdict = self._safety.judge(line.text, self._learned.copies, self._said, prompt=prompt, complete=complete, level=level)
        style = self._learned.manner.share(line.text)
        return speech.Generation(
            number=number,
            text=line.text,
            complete=line.complete,
            log_likelihood=line.log_likelihood,
            style=style,
            relevance=line.relevance,
            score=choosing.score(line.log_likelihood, self._typical, style, line.relevance).total,
            verdict=verdict.name,
            reason=verdict.reason,
            chosen=False,
        )
