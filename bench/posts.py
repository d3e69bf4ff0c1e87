"""The posts that a bench looks at: accounts' newest, cleaned and split as Mynah does it, or, in small, made up on the spot.

Of data/ it needs what runs without the libraries that read archives and databases, so that a bare machine with a GPU will do.
"""

import json
import random
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from bench.command import CORPORA, ROOT
from data.corpus import Corpus, build_corpus
from data.tweets import Tweet

SAMPLE = ROOT / "data" / "sample"
#: A made-up account has sixty words of its own, of two to four of these.
_SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
_INVENTED_POSTS = 160  # about 10,000 characters: enough to be trained on


def default() -> Path:
    """Return a real account's posts where they are at hand, else the fictional lighthouse keeper's."""
    real = CORPORA / "dril.jsonl"
    return real if real.is_file() else SAMPLE


def read(path: Path) -> list[Tweet]:
    """Return the posts of a .jsonl file, or of whatever else Mynah imports."""
    if path.suffix != ".jsonl":
        from data.readers import read_posts  # it needs ijson

        return list(read_posts(path))
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Tweet(row["id"], datetime.fromisoformat(row["created_at"]), row["text"], row["is_retweet"]) for row in rows]


def corpus(path: Path, most: int, seed: int) -> Corpus:
    """Return the corpus of the `most` newest usable posts, 80/10/10; the seed chooses which post is in which split."""
    return build_corpus({path.stem.lower(): read(path)}, max_posts=most, seed=seed)


def corpora_of(folder: Path, names: Sequence[str], most: int, seed: int, *, small: bool) -> dict[str, Corpus]:
    """Return the corpus of each account's `most` newest usable posts; made-up ones where `small`.

    Raises:
        SystemExit: as `tweets_of`.
    """
    tweets = tweets_of(folder, names, small=small)
    return {name: build_corpus({name.lower(): own}, max_posts=most, seed=seed) for name, own in tweets.items()}


def tweets_of(folder: Path, names: Sequence[str], *, small: bool) -> dict[str, list[Tweet]]:
    """Return the posts of each account; made-up ones where `small`.

    Raises:
        SystemExit: the folder lacks one. A sentence says so on stdout and the status is 0: where it is absent, nothing is defect.
    """
    if small:
        return {name: _invent(name) for name in names}
    files = {name: folder / f"{name}.jsonl" for name in names}
    if absent := [file.name for file in files.values() if not file.is_file()]:
        print(f"Nothing was measured: {folder} has no {', '.join(absent)}. Name a folder that has with --corpora, or run it with --small.")
        raise SystemExit(0)
    return {name: read(file) for name, file in files.items()}


def invented(names: Sequence[str], most: int, seed: int) -> dict[str, Corpus]:
    """Return corpora of accounts that nobody has, each of its own words."""
    return {name: build_corpus({name: _invent(name)}, max_posts=most, seed=seed) for name in names}


def _invent(name: str) -> list[Tweet]:
    chance = random.Random(name)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(60)]
    return [Tweet(str(number), None, " ".join(chance.choices(words, k=chance.randint(8, 12)))) for number in range(_INVENTED_POSTS)]
