"""Does a voice of several accounts speak as each of them, and, unasked, as all? (`make bench-joint`)

    python -m bench.joint [--accounts NAME,NAME] [--lines 200] [--work DIR] [--json FILE] [--small]

One voice learns from the accounts' newest usable posts together, and says as many lines as each of them as it says as the blend, with the
default sampling, unprompted and unfiltered. The classifier of bench/fidelity.py says whose each line looks like. Beside the lines stand
the accounts' own held-out posts.
"""

import argparse
from dataclasses import asdict, dataclass

from bench import command, fidelity, posts, workshop
from data.cleaning import training_text
from data.corpus import build_corpus

BLEND = "the blend"
GOAL = 0.85  # of what the posts' own share is, as bench/quality.py's
SMALL = {"base": "tiny-random", "accounts": "ann,bob", "lines": 8, "posts": 120, "epochs": 1}


@dataclass
class Figures:
    """Shares from 0 to 1 of lines or posts that are taken for each account's; losses in nats a token over the report split."""

    lines: dict[str, dict[str, float]]
    """By who the voice spoke as, the blend among them."""
    posts: dict[str, dict[str, float]]
    """By whose they are."""
    loss_before: float
    loss_after: float

    def fidelity(self, name: str) -> float:
        """Return the share of an account's lines that are taken for its own, over the same share of its held-out posts."""
        real = self.posts[name][name]
        return self.lines[name][name] / real if real else 0.0


def measured(arguments: argparse.Namespace, names: list[str]) -> Figures:
    """Train the voice if it is not trained yet, let it speak, and measure."""
    tweets = posts.tweets_of(arguments.corpora, names, small=arguments.small)
    corpus = build_corpus({name.lower(): own for name, own in tweets.items()}, max_posts=arguments.posts, seed=arguments.seed)
    (voice,) = workshop.voices_of(arguments, {"-".join(names): corpus}).values()
    authors = {BLEND: "", **{name: name for name in corpus.handles}}
    wishes = {who: workshop.requests_for(voice, who, arguments.lines, arguments.seed, author) for who, author in authors.items()}
    said = workshop.said([request for requests in wishes.values() for request in requests], arguments.work)
    # a smaller account's posts stand in the train split more than once
    whose = fidelity.Attribution(
        {name: list(dict.fromkeys(post.text for post in corpus.train if post.author == name)) for name in corpus.handles}
    )
    held_out = corpus.stop + corpus.report
    return Figures(
        lines={
            who: whose.shares([training_text(line) for request in requests for line in said[request.id]])
            for who, requests in wishes.items()
        },
        posts={name: whose.shares([post.text for post in held_out if post.author == name]) for name in corpus.handles},
        loss_before=voice.done.loss_before,
        loss_after=voice.done.loss_after,
    )


def table(figures: Figures) -> str:
    """Return the figures as Markdown, with a sentence on each account."""
    names = list(figures.posts)
    rows = [f"| | {' | '.join(f'taken for {name}' for name in names)} |", "|" + " --- |" * (len(names) + 1)]

    def row(head: str, shares: dict[str, float]) -> str:
        return f"| {head} | {' | '.join(f'{shares[name]:.1%}' for name in names)} |"

    rows += [row(f"lines as {who}", shares) for who, shares in figures.lines.items()]
    rows += [row(f"held-out posts of {name}", shares) for name, shares in figures.posts.items()]
    rows += ["", f"Held-out loss {figures.loss_before:.3f} before and {figures.loss_after:.3f} after."]
    for name in names:
        found = figures.fidelity(name)
        rows.append(f"As {name}: fidelity {found:.2f} (goal: at least {GOAL}, {'met' if found >= GOAL else 'missed'}).")
    return "\n".join(rows)


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = workshop.parser("joint", __doc__)
    parser.add_argument("--accounts", default="BarackObama,elonmusk", help="two or more, with commas")
    parser.add_argument("--lines", type=int, default=200, help="as each account, and as the blend")
    arguments = command.parse(parser, words, SMALL)
    names = arguments.accounts.split(",")
    if len(set(names)) < 2 or arguments.lines < 1:
        parser.error("name two accounts or more, and one line or more")
    figures = measured(arguments, names)
    print(table(figures))
    command.write_settings(arguments, **asdict(figures))


if __name__ == "__main__":
    main()
