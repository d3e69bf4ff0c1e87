"""Is a new version of a voice better begun from the last one, or from the base? (`make bench-again`)

    python -m bench.again [--accounts NAME,NAME] [--new 0.3] [--work DIR] [--json FILE] [--small]

An earlier version has learned from the older posts of an account; then newer ones came (`--new` is their share). The next version learns
from all of them together, begun in two ways, and both are held against the same report split, which neither has learned from:

base    from the base, anew, by the recipe: what `mynah train` does
last    from the earlier version's weights, by the same recipe: what `mynah train --from last` does
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest

from bench import command, posts, workshop
from bench.workshop import Voice
from data.cleaning import training_text
from data.corpus import Corpus
from data.tweets import Tweet

TIE = 0.02  # nats: less is no difference
SMALL = {"base": "tiny-random", "accounts": "ann", "at_once": 2, "posts": 120, "epochs": 2}


@dataclass
class Way:
    """One way to a version: how long it took, and what it came to."""

    seconds: float
    loss: float
    """Held out, nats a token."""


@dataclass
class Figures:
    """What was measured of one account."""

    posts: int
    new: int
    before: float
    """The base's loss on the report split, nats a token."""
    ways: dict[str, Way]


def older(corpus: Corpus, tweets: Sequence[Tweet], new: float) -> set[str]:
    """Return the texts of the train split but for the newest share `new`; of posts with one text the oldest counts."""
    age = {training_text(tweet.text): place for place, tweet in enumerate(sorted(tweets, key=lambda tweet: -int(tweet.id)))}
    texts = sorted({post.text for post in corpus.train}, key=lambda text: -age[text])
    return set(texts[: round(len(texts) * (1 - new))])


def measured(arguments: argparse.Namespace, corpora: dict[str, Corpus]) -> dict[str, Figures]:
    """Train what is not trained yet, each account's earlier version first, and return the figures."""
    recipe = workshop.recipe_of(arguments)
    tweets = posts.tweets_of(arguments.corpora, list(corpora), small=arguments.small)
    known = {name: older(corpus, tweets[name], arguments.new) for name, corpus in corpora.items()}
    first = {
        name: replace(corpus, train=tuple(post for post in corpus.train if post.text in known[name])) for name, corpus in corpora.items()
    }

    def trained(wanted: dict[str, Corpus], starts: Sequence[Voice | None] = ()) -> list[Voice]:
        jobs = [
            workshop.job_for(name, corpus, recipe, arguments.work, arguments.cache, start)
            for (name, corpus), start in zip_longest(wanted.items(), starts)
        ]
        return workshop.trained(jobs, arguments.at_once)

    earlier = trained(first)
    ways = {
        "earlier": earlier,
        "base": trained(corpora),
        "last": trained(corpora, earlier),
    }
    return {
        name: Figures(
            posts=len(corpus.train),
            new=len(corpus.train) - len(first[name].train),
            before=earlier[place].done.loss_before,
            ways={way: Way(voices[place].done.seconds, voices[place].done.loss_after) for way, voices in ways.items()},
        )
        for place, (name, corpus) in enumerate(corpora.items())
    }


def table(figures: dict[str, Figures]) -> str:
    """Return the figures as Markdown, with a sentence on each account."""
    rows = ["| account | version | s | held-out loss |", "| --- | --- | --- | --- |"]
    sentences = []
    for name, one in figures.items():
        rows += [f"| {name} | {way} | {found.seconds:.0f} | {found.loss:.3f} |" for way, found in one.ways.items()]
        gain = one.ways["base"].loss - one.ways["last"].loss
        verdict = "a tie" if abs(gain) < TIE else "the last version is the better start" if gain > 0 else "the base is the better start"
        sentences.append(f"{name}: {one.new} of {one.posts} posts are new; from the last version {-gain:+.3f} nats a token: {verdict}.")
    return "\n".join([*rows, "", *sentences])


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = workshop.parser("again", __doc__)
    parser.add_argument("--accounts", default="BarackObama,dril", help="with commas")
    parser.add_argument("--new", type=float, default=0.3, help="share of the posts that came since the earlier version")
    arguments = command.parse(parser, words, SMALL)
    if not 0 < arguments.new < 1:
        parser.error("--new is a share between 0 and 1")
    figures = measured(arguments, workshop.corpora_of(arguments, arguments.accounts.split(",")))
    print(table(figures))
    command.write_settings(arguments, accounts={name: asdict(one) for name, one in figures.items()})


if __name__ == "__main__":
    main()
