"""Does a voice write like its account, and does it say anything that was not said before? (`make bench-quality`)

    python -m bench.quality [--accounts NAME,NAME,...] [--lines 200] [--work DIR] [--json FILE] [--small]

Each account's newest usable posts (1,000) train a voice on 80 % of them; the voice then says 200 lines with the default sampling,
unprompted and unfiltered. Beside each figure of these lines stands the same figure of the account's own held-out posts: the other
20 %, of which the trainer saw one half to know when to stop and the other to report a loss. Both are cleaned alike.

fidelity      share of the lines that a classifier takes for this account's, over the same share of the held-out posts
copies        share that equals, nearly equals, or shares eight words in a row with a training post (data/copies.py)
distinct-2    share of word pairs that differ, over equal numbers of lines and posts
length        mean characters
loss          nats a token over the report split, before and after training
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import command, fidelity, workshop
from bench.workshop import Voice
from data.cleaning import training_text
from data.copies import TrainingPosts
from data.corpus import Corpus

FIDELITY_GOAL = 0.85
COPIES_GOAL = 0.01  # above the held-out posts' own
SMALL = {"base": "tiny-random", "accounts": "ann,bob,cid", "lines": 8, "at_once": 3, "posts": 120, "epochs": 1}


@dataclass
class Figures:
    """What was measured of one account; shares are 0 to 1."""

    lines: int
    held_out: int
    generated_attributed: float
    real_attributed: float
    fidelity: float
    generated_copies: float
    real_copies: float
    copies_above_real: float
    generated_distinct_2: float
    real_distinct_2: float
    generated_length: float
    real_length: float
    loss_before: float
    loss_after: float
    same_trainer: bool
    taken_for: dict[str, float]
    """Share of the lines that the classifier gives to each account."""


def measure(voice: Voice, lines: list[str], corpus: Corpus, attribution: fidelity.Attribution) -> Figures:
    """Return the figures of one account, and leave its lines in the voice's folder for whoever wants to read them."""
    (name,) = corpus.handles
    real = [post.text for post in corpus.stop + corpus.report]
    training = TrainingPosts(post.text for post in corpus.train)
    generated = list(map(training_text, lines))
    taken_for = attribution.shares(generated)
    generated_attributed, real_attributed = taken_for[name], attribution.shares(real)[name]
    generated_copies, real_copies = fidelity.copy_rate(generated, training), fidelity.copy_rate(real, training)
    fewer = min(len(generated), len(real))
    Path(voice.job.output, "lines.txt").write_text("\n".join(generated) + "\n", encoding="utf-8")
    return Figures(
        lines=len(generated),
        held_out=len(real),
        generated_attributed=generated_attributed,
        real_attributed=real_attributed,
        fidelity=generated_attributed / real_attributed if real_attributed else 0.0,
        generated_copies=generated_copies,
        real_copies=real_copies,
        copies_above_real=generated_copies - real_copies,
        generated_distinct_2=fidelity.distinct_2(generated[:fewer]),
        real_distinct_2=fidelity.distinct_2(real[:fewer]),
        generated_length=fidelity.mean_length(generated),
        real_length=fidelity.mean_length(real),
        loss_before=voice.done.loss_before,
        loss_after=voice.done.loss_after,
        same_trainer=voice.same_trainer,
        taken_for=taken_for,
    )


def table(figures: dict[str, Figures]) -> str:
    """Return the figures as Markdown, the held-out posts' beside the lines', with a sentence for each goal."""
    heads = ["account", "its own: lines", "posts", "fidelity", "copies: lines", "posts", "distinct-2: lines", "posts"]
    heads += ["length: lines", "posts", "loss before", "after"]
    rows = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for name, one in figures.items():
        shares = f"{one.generated_attributed:.1%} | {one.real_attributed:.1%} | {one.fidelity:.2f}"
        copies = f"{one.generated_copies:.1%} | {one.real_copies:.1%}"
        variety = f"{one.generated_distinct_2:.3f} | {one.real_distinct_2:.3f} | {one.generated_length:.0f} | {one.real_length:.0f}"
        rows.append(f"| {name} | {shares} | {copies} | {variety} | {one.loss_before:.3f} | {one.loss_after:.3f} |")
    count = len(figures)
    faithful = sum(one.fidelity >= FIDELITY_GOAL for one in figures.values())
    original = sum(one.copies_above_real <= COPIES_GOAL + 1e-9 for one in figures.values())
    mean = sum(one.fidelity for one in figures.values()) / count
    above = sum(one.copies_above_real for one in figures.values()) / count
    rows += [
        "",
        f"Fidelity at least {FIDELITY_GOAL}: {faithful} of {count} accounts; mean {mean:.2f}.",
        f"Copies at most {100 * COPIES_GOAL:g} point above the posts' own: {original} of {count} accounts; mean {100 * above:+.1f} points.",
    ]
    rows += [f"{name} was trained by other code of trainer/ than today's." for name, one in figures.items() if not one.same_trainer]
    return "\n".join(rows)


def measured(arguments: argparse.Namespace, corpora: dict[str, Corpus]) -> dict[str, Figures]:
    """Train what is not trained yet, let every voice speak, and measure."""
    voices = workshop.voices_of(arguments, corpora)
    requests = {name: workshop.requests_for(voice, name, arguments.lines, arguments.seed) for name, voice in voices.items()}
    said = workshop.said([request for wishes in requests.values() for request in wishes], arguments.work)
    attribution = fidelity.Attribution({corpus.handles[0]: [post.text for post in corpus.train] for corpus in corpora.values()})
    return {
        name: measure(voice, [line for request in requests[name] for line in said[request.id]], corpora[name], attribution)
        for name, voice in voices.items()
    }


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = workshop.parser("quality", __doc__)
    parser.add_argument("--accounts", default="BarackObama,dril,elonmusk,jairbolsonaro,realDonaldTrump", help="two or more, with commas")
    parser.add_argument("--lines", type=int, default=200, help="lines that each voice says")
    arguments = command.parse(parser, words, SMALL)
    names = arguments.accounts.split(",")
    if len(set(names)) < 2 or arguments.lines < 1:
        parser.error("name two accounts or more, between which a classifier can choose, and one line or more")
    figures = measured(arguments, workshop.corpora_of(arguments, names))
    print(table(figures))
    command.write_settings(arguments, accounts={name: asdict(one) for name, one in figures.items()})


if __name__ == "__main__":
    main()
