"""Does a voice answer what it is told, rather than muse? (`make bench-answers`)

    python -m bench.answers [--voices NAME,NAME] [--others NAME,NAME] [--messages 200] [--work DIR] [--json FILE] [--small]

Messages are posts of accounts from which no voice here has learned, of at least eight words. Each voice is trained twice on the same
posts, with answers and without, and answers every message once each time, with the default sampling and the same seeds. Answers and
messages are embedded (all-MiniLM-L6-v2, which knows English alone: choose English accounts).

closer        share of the answers that are closer (cosine) to their own message than to one other message, drawn at random
AUC           the same over all other messages: the chance that the own one is closer, and its standard error over the messages
rank          mean place of the own message among all, by closeness; 1 is best
echoes        share of the answers that copy their message (data/copies.py): closeness that is worth nothing
floor         as answers, real held-out posts of the voice's account, which were written for nobody here
ceiling       as messages the first halves of the same posts, as answers their second halves
"""

import argparse
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from bench import command, embedding, workshop
from bench.embedding import Embed
from bench.relevance import Relevance, halves, messages_of, relevance, standard_error
from bench.workshop import Voice
from data.cleaning import training_text
from data.corpus import Corpus

LOSS_GOAL = 0.01  # trained with answers, above trained without
SMALL = {"base": "tiny-random", "voices": "ann", "others": "bob,cid", "messages": 8, "at_once": 2, "posts": 120, "epochs": 1}


@dataclass
class Figures:
    """What was measured of one voice."""

    trained_with: Relevance
    trained_without: Relevance
    floor: Relevance
    gain: float
    """The AUC trained with answers, less that without."""
    gain_error: float
    """Its standard error, message by message."""
    loss_with: float
    """Held out, nats a token."""
    loss_without: float
    loss_above: float
    """How much the first is above the second, as a part of it."""
    same_trainer: bool


def measure(corpus: Corpus, voices: Sequence[Voice], messages: list[str], said: Sequence[list[str]], embed: Embed, seed: int) -> Figures:
    """Return the figures of an account's two voices, with answers and without, from what both said to the messages."""
    answers = [list(map(training_text, lines)) for lines in said]
    for voice, lines in zip(voices, answers, strict=True):
        pairs = (f"{message}\n    {line}\n" for message, line in zip(messages, lines, strict=True))
        Path(voice.job.output, "answers.txt").write_text("".join(pairs), encoding="utf-8")  # for whoever wants to read them
    (trained_with, chances_with), (trained_without, chances_without) = (relevance(messages, lines, embed, seed) for lines in answers)
    posts = [post.text for post in corpus.stop + corpus.report]
    random.Random(seed).shuffle(posts)
    loss_with, loss_without = (voice.done.loss_after for voice in voices)
    return Figures(
        trained_with=trained_with,
        trained_without=trained_without,
        floor=relevance(messages, list(islice(cycle(posts), len(messages))), embed, seed)[0],
        gain=trained_with.auc - trained_without.auc,
        gain_error=standard_error(chances_with - chances_without),
        loss_with=loss_with,
        loss_without=loss_without,
        loss_above=loss_with / loss_without - 1,
        same_trainer=all(voice.same_trainer for voice in voices),
    )


def table(figures: dict[str, Figures], ceiling: Relevance) -> str:
    """Return the figures as Markdown, with a sentence on each voice's goals."""

    def row(name: str, by: str, one: Relevance, loss: str = "") -> str:
        return f"| {name} | {by} | {one.closer:.1%} | {one.auc:.3f} ± {one.auc_error:.3f} | {one.rank:.1f} | {one.echoes:.1%} | {loss} |"

    rows = ["| voice | answers | closer | AUC | rank | echoes | held-out loss |", "|" + " --- |" * 7]
    sentences = []
    for name, one in figures.items():
        rows.append(row(name, "trained with answers", one.trained_with, f"{one.loss_with:.3f}"))
        rows.append(row(name, "trained without", one.trained_without, f"{one.loss_without:.3f}"))
        rows.append(row(name, "floor: posts at random", one.floor))
        sentences.append(
            f"{name}: answers in training move the AUC by {one.gain:+.3f} ± {one.gain_error:.3f} and the held-out loss by "
            f"{one.loss_above:+.2%} (goal: at most {LOSS_GOAL:+.0%}, {'met' if one.loss_above <= LOSS_GOAL else 'missed'})."
            + ("" if one.same_trainer else " It was trained by other code of trainer/ than today's.")
        )
    return "\n".join([*rows, row("", "ceiling: the other half", ceiling), "", *sentences])


def measured(
    arguments: argparse.Namespace, corpora: dict[str, Corpus], messages: list[str], embed: Embed
) -> tuple[dict[str, Figures], Relevance]:
    """Train what is not trained yet, have every message answered, and return the figures of each voice and the ceiling."""
    seed = arguments.seed
    common = workshop.recipe_of(arguments)
    jobs = [
        workshop.job_for(name, corpus, replace(common, answers=answers), arguments.work, arguments.cache)
        for name, corpus in corpora.items()
        for answers in (arguments.answers, 0.0)
    ]
    voices = workshop.trained(jobs, arguments.at_once)
    requests = [
        [workshop.request_for(voice, f"{voice.job.id}/{number}", 1, seed + number, message) for number, message in enumerate(messages)]
        for voice in voices
    ]
    said = workshop.said([request for wishes in requests for request in wishes], arguments.work)
    lines = [[said[request.id][0] for request in wishes] for wishes in requests]
    figures = {
        name: measure(corpus, voices[place : place + 2], messages, lines[place : place + 2], embed, seed)
        for place, (name, corpus) in zip(range(0, len(voices), 2), corpora.items(), strict=True)
    }
    return figures, relevance(*halves(messages), embed, seed)[0]


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = workshop.parser("answers", __doc__)
    parser.add_argument("--voices", default="BarackObama,dril", help="accounts to train on, with commas")
    parser.add_argument("--others", default="elonmusk,realDonaldTrump", help="accounts whose posts are answered")
    parser.add_argument("--messages", type=int, default=200, help="posts to answer, of all these together")
    parser.add_argument("--answers", type=float, help="share of the posts learned as answers (the recipe's own)")
    arguments = command.parse(parser, words, SMALL)
    names, others = arguments.voices.split(","), arguments.others.split(",")
    if set(names) & set(others) or arguments.messages < 2:
        parser.error("name accounts in --others that are not in --voices, and two messages or more")
    if arguments.answers == 0:
        parser.error("--answers is the share that is compared with none: choose one above 0, up to 1, or leave it to the recipe")
    corpora = workshop.corpora_of(arguments, [*names, *others])
    messages = messages_of([corpora.pop(name) for name in others], arguments.messages, arguments.seed)
    embed = embedding.letter_counts if arguments.small else embedding.mini_lm(arguments.cache)
    figures, ceiling = measured(arguments, corpora, messages, embed)
    print(table(figures, ceiling))
    command.write_settings(arguments, voices={name: asdict(one) for name, one in figures.items()}, ceiling=asdict(ceiling))


if __name__ == "__main__":
    main()
