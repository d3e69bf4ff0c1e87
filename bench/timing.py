"""What is asked of one speaker, and how long it takes.

start           exec of the process to the first line of its first request
first line      from a request sent to its first line; N clients, each of which asks again when its request has ended
cold            the same request twice, of a voice that this process has never read and whose file is in no page cache: the first
                time's first line less the second's. The same seed draws the same line, so that reading is all that differs
evenness        a request for one line, sent while one for many is under way, over the same request alone
question        from a message sent to the last of its candidates: after that a line can be chosen
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.common import forget_pages
from bench.invented import DETAILS, Voice
from bench.speaker import Heard, Speaker
from trainer.protocol import Line, Sampling, SpeechRequest

MESSAGES = (
    "what do you think of the new harbour wall?",
    "my cat has opinions about soup, and I am not sure that they are wrong",
    "election day is on Tuesday",
    "is anybody else still awake?",
    "they moved the bus stop again, and now I walk past the bakery every single morning. it is a disaster",
)
MOST_SEEDS = 1024
SEEDS_AT_ONCE = 1
"""Of a voice, that are tried together: no more rows than are timed, for the speaker's peak memory is compared, too."""


@dataclass
class Asking:
    """How requests are made: each with an id of its own."""

    base: str
    cache: str
    device: str
    prompt: str
    tokens: int
    """Most tokens of a line."""

    def __post_init__(self) -> None:
        self._number = itertools.count()

    def lines(self, voice: Voice, count: int, seed: int, *, prompt: str = "", tokens: int = 0) -> SpeechRequest:
        """Return a request for lines of at most `tokens` tokens (0: the usual number), however many characters they have."""
        sampling = replace(Sampling(), max_tokens=tokens or self.tokens, max_weight=0)
        return self._request(voice, count, seed, sampling, prompt=prompt)

    def answers(self, voice: Voice, count: int, seed: int, message: str) -> SpeechRequest:
        """Return a request for answers to a message, with the default sampling."""
        return self._request(voice, count, seed, Sampling(), message=message)

    def _request(self, voice: Voice, count: int, seed: int, sampling: Sampling, *, prompt: str = "", message: str = "") -> SpeechRequest:
        return SpeechRequest(
            id=str(next(self._number)),
            base=self.base,
            weights=voice.weights,
            sha256=voice.sha256,
            details=DETAILS,
            prompt=prompt,
            count=count,
            seed=seed,
            sampling=sampling,
            cache=self.cache,
            device=self.device,
            message=message,
        )


def long_seeds(speaker: Speaker, asking: Asking, voices: Sequence[Voice]) -> list[int]:
    """Return for each voice a seed with which its line has all the tokens that it may have: its first such.

    A line that did not end by itself (Line.complete) drew exactly max_tokens. The seeds are looked for before the clock starts, so
    that what is timed later has a length known beforehand.

    Raises:
        SystemExit: a voice has none.
    """
    found: dict[int, int] = {}
    for first in range(0, MOST_SEEDS, SEEDS_AT_ONCE):
        tries = [(place, seed) for place in range(len(voices)) if place not in found for seed in range(first, first + SEEDS_AT_ONCE)]
        if not tries:
            return [found[place] for place in range(len(voices))]
        asked = speaker.say([asking.lines(voices[place], 1, seed, prompt=asking.prompt) for place, seed in tries])
        for (place, seed), heard in zip(tries, asked, strict=True):
            if not heard.lines[0].complete:
                found.setdefault(place, seed)
    raise SystemExit(f"No line of {asking.tokens} tokens came with {MOST_SEEDS} seeds: choose fewer --tokens or another --prompt.")


def first_lines(
    speaker: Speaker, asking: Asking, voices: Sequence[Voice], clients: int, count: int, samples: int, seed: int
) -> list[float]:
    """Return the seconds to the first line of `samples` requests for `count` lines each, `clients` of which are always open."""
    waits: list[float] = []
    with closing(speaker.steadily(_requests(asking, voices, count, seed), clients)) as said:
        for heard, message in said:
            if not isinstance(message, Line):
                waits.append(heard.first)
                if len(waits) == samples:
                    break
    return waits


def lines_a_minute(speaker: Speaker, asking: Asking, voices: Sequence[Voice], seconds: float, seed: int) -> tuple[float, list[str]]:
    """Return how many lines come a minute, and these, while for each voice two requests for one line are open.

    The clock starts with the first line after as many as there are voices.
    """
    texts: list[str] = []
    began = 0.0
    with closing(speaker.steadily(_requests(asking, voices, 1, seed), 2 * len(voices))) as said:
        for number, (heard, _) in enumerate((heard, message) for heard, message in said if isinstance(message, Line)):
            at = heard.times[-1]
            if number == len(voices):
                began = at
            elif number > len(voices):
                texts.append(heard.lines[-1].text)
                if at - began >= seconds:
                    break
    return 60 * len(texts) / (at - began), texts


def _requests(asking: Asking, voices: Sequence[Voice], count: int, seed: int) -> Iterator[SpeechRequest]:
    for number, voice in enumerate(itertools.cycle(voices)):
        yield asking.lines(voice, count, seed + number)


def coldness(speaker: Speaker, asking: Asking, fresh: Sequence[Voice]) -> list[tuple[float, float]]:
    """Return for each voice, none of which the speaker has read yet, the seconds to its first line, cold and warm."""
    found = []
    for voice in fresh:
        forget_pages(Path(voice.weights))
        # Eight tokens: the shorter the line, the less of its own noise is in the difference.
        cold, warm = (speaker.say([asking.lines(voice, 1, 0, tokens=8)])[0].first for _ in range(2))
        found.append((cold, warm))
    return found


def evenness(speaker: Speaker, asking: Asking, voices: Sequence[Voice], many: int, turns: int, seed: int) -> tuple[float, float]:
    """Return the median seconds to one line alone, and to the same line while `many` of another voice are under way."""
    alone, beside = [], []
    for turn in range(turns):
        alone.append(speaker.say([asking.lines(voices[0], 1, seed, prompt=asking.prompt)])[0].first)
        crowd = speaker.ask(asking.lines(voices[1], many, turn))
        time.sleep(alone[-1] / 2)  # by then it has begun, and it takes longer than one line
        one = speaker.ask(asking.lines(voices[0], 1, seed, prompt=asking.prompt))
        while not (one.ended and crowd.ended):
            speaker.hear()
        beside.append(one.first)
    return median(alone), median(beside)


def questions(speaker: Speaker, asking: Asking, voices: Sequence[Voice], count: int, samples: int) -> list[Heard]:
    """Return the answers to some messages, asked one after another of voices that have spoken before."""
    speaker.say([asking.answers(voice, 1, 0, MESSAGES[0]) for voice in voices])
    wishes = zip(range(samples), itertools.cycle(voices), itertools.cycle(MESSAGES), strict=False)
    return [speaker.say([asking.answers(voice, count, seed, message)])[0] for seed, voice, message in wishes]
