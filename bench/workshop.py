"""Voices for the measures of quality: trained by the real trainer, kept in a folder, and speaking through the real speaker.

A voice lies in WORK/NAME-HASH, the hash being that of its recipe and its posts: asked for again, it is not trained again. One that
other code of trainer/ made is used all the same, and said to be; remove its folder to train it anew.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import command, posts
from bench.child import Child
from bench.command import ROOT, say
from bench.speaker import Speaker
from data.corpus import Corpus
from trainer.protocol import Done, Failed, Job, Line, Post, ProtocolError, Recipe, Sampling, SpeechRequest, Spoken, Step, parse

TRAINER = (sys.executable, "-m", "trainer")
LINES_A_REQUEST = 50


@dataclass(frozen=True)
class Voice:
    """A trained voice: what was asked, and what came of it."""

    job: Job
    done: Done
    same_trainer: bool
    """False: it was kept from a run with other code of trainer/."""


def parser(bench: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the arguments that both measures take."""
    made = command.parser(bench, description, "made-up accounts and a tiny base", "base", "cache", "device", "seed", "corpora")
    made.add_argument("--posts", type=int, default=1000, help="newest usable posts of an account, split 80/10/10")
    made.add_argument("--epochs", type=int, help="(what the recipe holds best)")
    made.add_argument("--at-once", type=int, default=1, help="voices that one trainer trains together")
    made.add_argument("--work", type=Path, default=ROOT / "var" / "bench", help="trained voices are kept here")
    made.set_defaults(base=Recipe().base)
    return made


def corpora_of(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Corpus]:
    """Return the corpus of each account, made-up ones with --small."""
    return posts.corpora_of(arguments.corpora, names, arguments.posts, arguments.seed, small=arguments.small)


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """Return the recipe that the arguments ask for."""
    return Recipe(base=arguments.base, device=arguments.device, seed=arguments.seed, epochs=arguments.epochs)


def voices_of(arguments: argparse.Namespace, corpora: dict[str, Corpus]) -> dict[str, Voice]:
    """Return the voice of each corpus by the recipe that the arguments ask for; what is not trained yet is.

    Raises:
        SystemExit: a training failed; with its sentence.
    """
    recipe = recipe_of(arguments)
    jobs = [job_for(name, corpus, recipe, arguments.work, arguments.cache) for name, corpus in corpora.items()]
    return dict(zip(corpora, trained(jobs, arguments.at_once), strict=True))


def job_for(name: str, corpus: Corpus, recipe: Recipe, work: Path, cache: Path, start: Voice | None = None) -> Job:
    """Return the job of one voice, begun from another or the base, its output in a folder that is named by what it is made of."""
    train, stop, report = ([Post(post.author, post.text) for post in split] for split in (corpus.train, corpus.stop, corpus.report))
    nameless = Job("", recipe, train, stop, report, output="", cache="", start_sha256=start.done.sha256 if start else "")
    folder = f"{name}-{hashlib.sha256(nameless.to_json().encode()).hexdigest()[:12]}"
    placed = replace(nameless, id=folder, output=str(work.absolute() / folder), cache=str(cache.absolute()))
    return replace(placed, start=start.done.weights, start_adapter=start.done.details["adapter"]) if start else placed


def trained(jobs: Sequence[Job], at_once: int) -> list[Voice]:
    """Return the voices of these jobs, in order; those that are not there are trained, `at_once` by one process.

    Raises:
        SystemExit: a training failed; with its sentence.
    """
    missing = [job for job in jobs if _kept(job) is None]
    for start in range(0, len(missing), at_once):
        _train(missing[start : start + at_once])
    return [voice for job in jobs if (voice := _kept(job))]


def _kept(job: Job) -> Voice | None:
    folder = Path(job.output)
    try:
        done = parse((folder / "done.json").read_text(encoding="utf-8"))
        assert isinstance(done, Done)
        weights = folder / Path(done.weights).name  # the folder may have been made on another machine
        if hashlib.sha256(weights.read_bytes()).hexdigest() != done.sha256:
            return None
        return Voice(job, replace(done, weights=str(weights)), (folder / "trainer.sha256").read_text() == _trainer_sha256())
    except (OSError, ProtocolError):
        return None


def _train(jobs: Sequence[Job]) -> None:
    files = []
    for job in jobs:
        folder = Path(job.output)
        folder.mkdir(parents=True, exist_ok=True)
        files.append(folder / "job.json")
        files[-1].write_text(job.to_json(), encoding="utf-8")
    waiting = {job.id: Path(job.output) for job in jobs}
    log = files[0].with_name("trainer.log")
    failures = []
    with Child([*TRAINER, "--job", *map(str, files), "--lifeline"], log) as child:
        for line in child.lines():
            match parse(line):
                case Step(step=step, steps=steps, loss=loss, job=name) if step % max(1, steps // 10) == 0:
                    say(f"{name}: step {step} of {steps}, loss {loss:.3f}")
                case Done(job=name) as done:
                    folder = waiting.pop(name)
                    (folder / "trainer.sha256").write_text(_trainer_sha256())
                    (folder / "done.json").write_text(done.to_json(), encoding="utf-8")
                    say(f"{name}: {done.seconds:.0f} s, held-out loss {done.loss_before:.3f} before and {done.loss_after:.3f} after")
                case Failed(job=name, sentence=sentence):
                    failures.append(f"{name or 'The trainer'}: {sentence}")
        child.process.wait()
    if waiting:
        raise SystemExit("\n".join(failures) or f"The trainer ended without a word: see {log}, and run this again.")


def requests_for(voice: Voice, name: str, count: int, seed: int, author: str = "") -> list[SpeechRequest]:
    """Return what asks a voice for `count` lines with the default sampling, in several requests named NAME/0, NAME/1, ...

    A joint voice speaks as `author`, or, without one, as the blend.
    """
    sizes = [min(LINES_A_REQUEST, count - start) for start in range(0, count, LINES_A_REQUEST)]
    return [replace(request_for(voice, f"{name}/{number}", size, seed + number), author=author) for number, size in enumerate(sizes)]


def request_for(voice: Voice, name: str, count: int, seed: int, message: str = "") -> SpeechRequest:
    """Return a request for lines of a voice, with the default sampling."""
    return SpeechRequest(
        id=name,
        base=voice.job.recipe.base,
        weights=voice.done.weights,
        sha256=voice.done.sha256,
        details=voice.done.details,
        prompt="",
        count=count,
        seed=seed,
        sampling=Sampling(),
        cache=voice.job.cache,
        device=voice.job.recipe.device,
        message=message,
    )


def said(requests: Sequence[SpeechRequest], work: Path) -> dict[str, list[str]]:
    """Return the texts of `heard`."""
    return {name: [line.text for line in lines] for name, lines in heard(requests, work).items()}


def heard(requests: Sequence[SpeechRequest], work: Path) -> dict[str, list[Line]]:
    """Return the lines of each request, by its id, in order, as one speaker said them.

    Raises:
        SystemExit: a request failed, or the speaker died.
    """
    spoken = 0
    with Speaker(work / "speaker.log") as speaker:
        asked = {request.id: speaker.ask(request) for request in requests}
        while spoken < len(asked):
            _, message = speaker.hear()
            if isinstance(message, Spoken):
                spoken += 1
                say(f"{message.id}: spoken, {spoken} of {len(asked)} requests")
    return {name: sorted(answer.lines, key=lambda line: line.index) for name, answer in asked.items()}


def _trainer_sha256() -> str:
    sources = sorted((ROOT / "trainer").glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
