"""Making a quiz: lines that a voice says now beside posts that its accounts wrote, alike in length, one of them unlike the others."""

import random
from dataclasses import dataclass

from sqlite_utils import Database

from bot.errors import BadRequestError
from bot.services.speaking import Speaking
from data import consents, jobs, models, quizzes, speech
from data.origin import Origin
from data.store import Store

ALIKE = 0.6  # of two texts, the shorter one's length over the longer one's, at least: so length does not tell
REMEMBERED = 50  # quizzes of a voice in a server, whose texts members know by now


@dataclass(frozen=True)
class Question:
    """Four texts and the answer, as data/quizzes.py has them."""

    voice: str
    model: int
    options: tuple[str, ...]
    odd: int
    odd_is_voice: bool


class Quizzing:
    """Makes quizzes."""

    def __init__(self, store: Store, speaking: Speaking, chance: random.Random | None = None) -> None:
        """`chance` decides which texts, in which order, and whether the odd one is the voice's."""
        self._store = store
        self._speaking = speaking
        self._chance = chance or random.Random()  # noqa: S311 - a game

    async def question(self, voice: str, *, by: str, origin: Origin) -> Question:
        """Have a voice say what a quiz needs, and find real posts to go with it.

        Raises:
            NotStoredError: the voice is not there, or was forgotten meanwhile.
            QuotaError: the member asked for too many lines lately.
            SpeechFailedError: no line came, or none that may be said.
            ConsentError: an account of the voice has opted out.
            BadRequestError: too few posts are of that length and may be shown.
        """
        odd_is_voice = self._chance.random() < 0.5
        request = await self._speaking.request(voice, by=by, origin=origin, count=1 if odd_is_voice else quizzes.OPTIONS - 1)
        said = [line.text for line in (await self._speaking.answer(request.id)).lines]
        if len(said) < quizzes.OPTIONS - 1:  # fewer than were asked for passed: one is enough the other way round
            odd_is_voice, said = True, said[:1]
        real = await self._posts(request, said, quizzes.OPTIONS - len(said), origin.server or 0)
        (odd,), rest = (said, real) if odd_is_voice else (real, said)
        self._chance.shuffle(rest)
        place = self._chance.randrange(quizzes.OPTIONS)
        return Question(request.voice, request.model, (*rest[:place], odd, *rest[place:]), place, odd_is_voice)

    async def _posts(self, request: speech.Request, said: list[str], count: int, server: int) -> list[str]:
        """Return so many posts of the voice's corpus that may be shown beside what it said."""
        held_out, learned = await self._store.read(_posts, request.model)
        known = await self._store.read(quizzes.shown_before, server, request.voice, REMEMBERED)
        length = sum(map(len, said)) / len(said)
        candidates = [post for post in dict.fromkeys((*held_out, *learned)) if _alike(len(post), length)]
        self._chance.shuffle(candidates)
        # Those held out come first because no line can have been learned from them; those that members have seen, last.
        first = set(held_out)
        candidates.sort(key=lambda post: (post in known, post not in first))
        found: list[str] = []
        for post in candidates:
            if await self._speaking.refusal(post, server) is None:
                found.append(post)
                if len(found) == count:
                    return found
        raise BadRequestError(f"Too few posts of {request.voice} are as long as its line and may be shown: try again, or another voice.")


def _alike(one: float, other: float) -> bool:
    return min(one, other) >= ALIKE * max(one, other)


def _posts(db: Database, model_id: int) -> tuple[list[str], list[str]]:
    """Return the posts of a model's corpus that it did not learn from, and those that it did.

    Raises:
        NotStoredError: the model is gone.
        ConsentError: an account wants none of it.
    """
    model = models.get(db, model_id)
    consents.refuse_opted_out(db, model.handles)
    corpus = jobs.corpus_of(db, model.corpus)
    return [post.text for post in (*corpus.report, *corpus.stop)], [post.text for post in corpus.train]
