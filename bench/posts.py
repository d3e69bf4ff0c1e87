"""The posts that a bench trains on: one account's newest, cleaned and split as Mynah does it.

Of data/ it needs what runs without the libraries that read archives and databases, so that a bare machine with a GPU will do.
"""

import json
from datetime import datetime
from pathlib import Path

from bench.command import ROOT
from data.corpus import Corpus, build_corpus
from data.tweets import Tweet

CORPORA = ROOT.parent / "shared" / "corpora"
SAMPLE = ROOT / "data" / "sample"


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
