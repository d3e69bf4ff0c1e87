"""The accounts that the measures of quality look at: those of ../shared/corpora, or, in small, ones that are made up on the spot."""

import random
from collections.abc import Sequence
from pathlib import Path

from bench import posts
from data.corpus import Corpus, build_corpus
from data.tweets import Tweet

#: A made-up account has sixty words of its own, of two to four of these.
_SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
_INVENTED_POSTS = 160  # about 10,000 characters: enough to be trained on


def corpora_of(folder: Path, names: Sequence[str], most: int, seed: int) -> dict[str, Corpus]:
    """Return the corpus of each account's `most` newest usable posts.

    Raises:
        SystemExit: the folder lacks one. A sentence says so on stdout and the status is 0: where it is absent, nothing is defect.
    """
    files = {name: folder / f"{name}.jsonl" for name in names}
    if absent := [file.name for file in files.values() if not file.is_file()]:
        print(f"Nothing was measured: {folder} has no {', '.join(absent)}. Name a folder that has with --corpora, or run it with --small.")
        raise SystemExit(0)
    return {name: posts.corpus(file, most, seed) for name, file in files.items()}


def invented(names: Sequence[str], most: int, seed: int) -> dict[str, Corpus]:
    """Return corpora of accounts that nobody has, each of its own words."""
    return {name: build_corpus({name: _invent(name)}, max_posts=most, seed=seed) for name in names}


def _invent(name: str) -> list[Tweet]:
    chance = random.Random(name)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(60)]
    return [Tweet(str(number), None, " ".join(chance.choices(words, k=chance.randint(8, 12)))) for number in range(_INVENTED_POSTS)]
