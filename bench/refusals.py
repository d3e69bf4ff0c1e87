"""What does the filter make of what voices say, and does anything come through that should not? (`make bench-refusals`)

    python -m bench.refusals [--voices NAME,NAME] [--lines 1000] [--work DIR] [--json FILE] [--small]

Each voice says so many lines, unprompted, with the default sampling, without `@`, as the bot asks for them; voices are those of
bench/quality.py where they are there. Each line, in the order of speaking, goes through `Safety.judge` at the default settings, beside
those of the voice that passed before it. The table has how many lines of each voice broke which rule first.

What passed is then looked at by other means than the filter's, and what leaked stands below the table:

mentions    an @ of any width
links       a scheme or www., or what ends in a dot and a top-level domain that many use
too long    above 280, by twitter-text
copies      equal to a training post but for case and spaces, or eight words in a row of one
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench import command, workshop
from bench.filter import RULES as OF_TEXTS
from bot.services.safety import Safety, Said
from bot.settings import Safety as Settings
from bot.x.text import MAX_LENGTH, weighted_length
from data.copies import TrainingPosts
from data.speech import PASSED
from trainer.protocol import Line

RULES = (PASSED, OF_TEXTS[0], "cut_off", *OF_TEXTS[1:], "copy", "repeat")
"""In the order in which they are asked."""
LINK = re.compile(r"://|\bwww\.|\w\.(com|org|net|gov|edu|io|co|ly|me|tv|uk|us|br|jp|de|fr)\b", re.IGNORECASE)
WORD = re.compile(r"[\w'\u2019]+")
RUN = 8
SMALL = {"base": "tiny-random", "voices": "ann,bob", "lines": 8, "at_once": 2, "posts": 120, "epochs": 1}


def judged(lines: Iterable[Line], posts: Iterable[str]) -> tuple[Counter[str], list[str]]:
    """Return how many lines broke which rule first, and the lines that broke none."""
    safety, learned, said = Safety(Settings()), TrainingPosts(posts), Said()
    verdicts: Counter[str] = Counter()
    passed = []
    for line in lines:
        verdict = safety.judge(line.text, learned, said, complete=line.complete)
        verdicts[verdict.name] += 1
        if verdict.name == PASSED:
            said.add(line.text)
            passed.append(line.text)
    return verdicts, passed


def leaks(passed: Sequence[str], posts: Iterable[str]) -> dict[str, list[str]]:
    """Return the lines that passed and should not have."""
    words = [WORD.findall(post.lower()) for post in posts]
    whole = {" ".join(post) for post in words}
    runs = {run for post in words for run in _runs(post)}

    def copies(line: str) -> bool:
        own = WORD.findall(line.lower())
        return (bool(own) and " ".join(own) in whole) or not runs.isdisjoint(_runs(own))

    return {
        "mentions": [line for line in passed if "@" in line or "\uff20" in line],
        "links": [line for line in passed if LINK.search(line)],
        "too long": [line for line in passed if weighted_length(line) > MAX_LENGTH],
        "copies": [line for line in passed if copies(line)],
    }


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = workshop.parser("refusals", __doc__)
    parser.add_argument("--voices", default="dril,realDonaldTrump", help="with commas")
    parser.add_argument("--lines", type=int, default=1000, help="lines that each voice says")
    arguments = command.parse(parser, words, SMALL)
    if arguments.lines < 1:
        parser.error("--lines is a number from 1 on")
    corpora = workshop.corpora_of(arguments, arguments.voices.split(","))
    requests = {
        name: [
            replace(request, sampling=replace(request.sampling, without="@"))  # as the bot asks
            for request in workshop.requests_for(voice, name, arguments.lines, arguments.seed)
        ]
        for name, voice in workshop.voices_of(arguments, corpora).items()
    }
    heard = workshop.heard([request for wishes in requests.values() for request in wishes], arguments.work)
    figures: dict[str, Counter[str]] = {}
    leaked: dict[str, list[str]] = {}
    for name, corpus in corpora.items():
        posts = [post.text for post in corpus.train]
        figures[name], passed = judged((line for request in requests[name] for line in heard[request.id]), posts)
        for kind, found in leaks(passed, posts).items():
            leaked.setdefault(kind, []).extend(found)
    print(table(figures))
    many = sum(one[PASSED] for one in figures.values())
    print(f"\nOf the {many:,} that passed: " + ", ".join(f"{kind} {len(found)}" for kind, found in leaked.items()) + ".")
    for kind, found in leaked.items():
        for line in found:
            print(f"{kind}: {line}")
    command.write_settings(arguments, verdicts=figures, leaked=leaked)


def table(figures: dict[str, Counter[str]]) -> str:
    """Return the verdicts as Markdown."""
    rows = ["| voice | " + " | ".join(rule.replace("_", " ") for rule in RULES) + " |", "|" + " --- |" * (1 + len(RULES))]
    return "\n".join(rows + [f"| {name} | " + " | ".join(f"{one[rule]:,}" for rule in RULES) + " |" for name, one in figures.items()])


if __name__ == "__main__":
    main()
