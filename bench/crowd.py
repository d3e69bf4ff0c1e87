"""A database of many voices that nobody trained, made through data/'s own functions.

    python -m bench.crowd DATABASE CACHE BASE VOICES REAL SEED [PATTERN]

The first REAL voices can speak as any voice does: their weights are a trained voice's, each moved a little (bench/invented.py), their
corpora have a thousand posts. That voice is PATTERN, its adapter.safetensors; else one is trained first, if var/bench does not have it
yet; on the tiny base there is none.
The others have weights of the tiny base's shape and 150 posts: they are there to be listed. Each account has twenty posts, and each
training its row, its last event and its result as a trainer tells it. It prints one line of JSON: bench/voices.py runs it as a process
of its own, so that neither torch nor what this takes is in the memory that is measured.
"""

import asyncio
import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save
from sqlite_utils import Database

from bench import posts, workshop
from bench.command import ROOT
from bench.invented import DETAILS, lora_in, tensors_of
from data import accounts, jobs, models
from data.corpus import Corpus, Counts, build_corpus
from data.store import Store
from data.tweets import Tweet
from trainer import bases
from trainer.lora import Lora
from trainer.protocol import Done, Recipe, Step

TOGETHER = 250
"""Voices of one transaction."""
POSTS = {True: 1000, False: 150}
OWN_POSTS = 20
STEPS = 44
RECIPE = {"method": "lora", "device": "auto", "seed": 0, "rank": None, "learning_rate": None, "epochs": None, "tokens_per_step": None}
_SYLLABLES = ("ka", "lo", "mi", "ren", "sha", "tu", "vel", "nor", "pi", "das", "ye", "zo", "bran", "fi", "gul", "hex")
_WORDS = ("the", "lamp", "is", "lit", "and", "a", "gull", "has", "taken", "our", "boat", "again", "while", "fog", "comes", "over",
          "harbour", "stairs", "my", "neighbour", "sang", "all", "night")  # fmt: skip


def handles(count: int, seed: int) -> list[str]:
    """Return distinct handles of at most fifteen characters, as people's are."""
    chance = random.Random(seed)
    return ["".join(chance.choices(_SYLLABLES, k=3))[:10] + str(number) for number in range(count)]


def texts(count: int, chance: random.Random) -> list[str]:
    """Return posts that say nothing, each with a number that no other has."""
    return [f"{' '.join(chance.choices(_WORDS, k=14))} {number}" for number in range(count)]


def tweets(count: int, chance: random.Random) -> list[Tweet]:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [Tweet(str(chance.randrange(10**18)), start + timedelta(minutes=n), text) for n, text in enumerate(texts(count, chance))]


def corpus_for(handle: str, template: Corpus) -> Corpus:
    """Return the same posts as another account's."""
    (counts,) = template.counts.values()
    splits = [tuple(replace(post, author=handle) for post in split) for split in (template.train, template.stop, template.report)]
    return replace(
        template, handles=(handle,), counts={handle: Counts(**asdict(counts))}, train=splits[0], stop=splits[1], report=splits[2]
    )


def add_voice(db: Database, handle: str, corpus: Corpus, base: str, content: bytes, folder: Path, seed: int) -> None:
    """Store an account and one version of its voice."""
    accounts.add_tweets(db, handle, tweets(OWN_POSTS, random.Random(seed)))
    jobs.enqueue(db, handle, corpus, RECIPE | {"base": base}, "bench")
    (job,) = jobs.start_next(db)
    jobs.record_event(db, job, Step(STEPS, STEPS, 4.5, 300.0, 0.0, job=str(job.id)).to_json())
    file = folder / "adapter.safetensors"
    file.write_bytes(content)
    models.add_from_job(db, job, file, _result(base, content, seed))


def _result(base: str, content: bytes, seed: int) -> dict[str, Any]:
    """Return what a trainer would have said at its end."""
    plan = RECIPE | {"base": base, "rank": 16, "stored_rank": 8, "scale": 2.0, "learning_rate": 3e-3, "epochs": 1, "tokens_per_step": 512}
    details: dict[str, Any] = {
        **DETAILS,
        "recipe": plan | {"answers": 0.25, "row": 256, "rows_per_step": 2, "warm_up": 0.05, "clip": 1.0, "evaluations": 3, "patience": 2},
        "base": {"name": base, "revision": None, "licence": "Apache-2.0"},
        "authors": [],
        "answers": True,
        "targets": {"train": 22_000, "stop": 1_500, "report": 2_600, "learned": 22_000},
        "posts": {"train": 800, "stop": 100, "report": 100},
        "start": None,
        "steps": STEPS,
        "steps_planned": STEPS,
        "resumed_at": 0,
        "best_step": STEPS,
        "learning_rate": 3e-3,
        "stop_loss": {"before": 5.9, "best": 4.5},
        "tokens_per_second": 310.0,
        "seconds": {"base": 1.2, "measure": 9.0, "train": 70.0, "sample": 4.0, "save": 0.4},
        "versions": {"python": "3.11.7", "torch": "2.13.0+cpu", "transformers": "5.23.0"},
        "device": "2 x made up",
        "memory_gpu": 0,
        "threads": 2,
        "protocol": 2,
    }
    sha256 = hashlib.sha256(content).hexdigest()
    said = asdict(Done("", sha256, len(content), 5.9, 4.5, 85.0, texts(5, random.Random(seed)), details))
    return {name: value for name, value in said.items() if name not in ("weights", "bytes", "job")}


def pattern(base: str, cache: Path) -> Lora | None:
    """Return the trained voice after which those are made that speak."""
    if base == "tiny-random":
        return None
    corpus = posts.corpus(posts.default(), 1000, 0)
    (voice,) = workshop.trained([workshop.job_for("pattern", corpus, Recipe(base=base), ROOT / "var" / "bench", cache)], 1)
    return lora_in(Path(voice.done.weights))


async def fill(database: Path, cache: Path, base: str, voices: int, real: int, seed: int, file: str = "") -> dict[str, float]:
    """Make the database and return what it took."""
    trained = lora_in(Path(file)) if file else pattern(base, cache)
    began = time.perf_counter()
    torch.set_num_threads(1)
    templates = {
        kind: build_corpus({"someone": tweets(count, random.Random(seed))}, max_posts=count, seed=seed) for kind, count in POSTS.items()
    }
    loaded = {name: bases.load(name, cache, torch.device("cpu"), lambda _: None, lambda: None) for name in {base, "tiny-random"}}

    def some(db: Database, part: list[tuple[int, str]], folder: Path) -> None:
        for number, handle in part:
            name, like = (base, trained) if number < real else ("tiny-random", None)
            content = save(tensors_of(loaded[name], number, like))
            add_voice(db, handle, corpus_for(handle, templates[number < real]), name, content, folder, number)

    async with Store(database) as store:
        with TemporaryDirectory(dir=database.parent) as folder:
            for part in _parts(list(enumerate(handles(voices, seed)))):
                await store.write(some, part, Path(folder))
                print(f"{part[-1][0] + 1} of {voices} voices", file=sys.stderr, flush=True)
    return {"build_s": time.perf_counter() - began, "database_mb": database.stat().st_size / 1e6}


def _parts(everything: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    for start in range(0, len(everything), TOGETHER):
        yield everything[start : start + TOGETHER]


if __name__ == "__main__":
    _database, _cache, _base, _voices, _real, _seed, *_pattern = sys.argv[1:]
    print(json.dumps(asyncio.run(fill(Path(_database), Path(_cache), _base, int(_voices), int(_real), int(_seed), *_pattern))))
