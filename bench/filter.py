"""How long the filter takes for a line, and how many posts of real accounts it would refuse. (`make bench-filter`)

    python -m bench.filter [--corpora DIR] [--voice NAME] [--posts 3200] [--lines 1000] [--real 3000] [--json FILE] [--small]

The first figures are of one thread: `Safety.judge` and the share of trigrams, on lines of the account that are not among the posts that
it compares with, with 500 lines said before, a blocklist of 1,000 words and 20 expressions, and profanity = "none". The goal is 20 ms.

The table has the share of each account's posts that each rule refuses at the default settings; copies and repeats are left out, since
a post is one. A person wrote these posts: what is refused here as personal or profane is a false alarm, or is what it is called.
"""

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import command, posts
from bench.common import quantile
from bot.services.blocklist import Blocklist
from bot.services.learned import Manner
from bot.services.safety import Safety, Said
from bot.settings import Safety as Settings
from data.copies import TrainingPosts

GOAL_MS = 20.0
ACCOUNTS = ("dril", "BarackObama", "realDonaldTrump", "elonmusk", "jairbolsonaro", "dayukoume")
RULES = ("empty", "too_long", "forbidden", "mention", "link", "blocked", "profane", "personal")
SAID = 500
BLOCKED_WORDS, EXPRESSIONS = 1000, 20


def texts_of(folder: Path, name: str, most: int, seed: int, *, small: bool) -> list[str]:
    """Return an account's posts, cleaned, in any order, duplicates gone."""
    (corpus,) = posts.corpora_of(folder, [name], most, seed, small=small).values()
    found = [post.text for split in (corpus.train, corpus.stop, corpus.report) for post in split]
    random.Random(seed).shuffle(found)
    return list(dict.fromkeys(found))


def blocklist(folder: Path, seed: int) -> Path:
    """Write a long blocklist of words that nobody has."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(BLOCKED_WORDS + EXPRESSIONS)]
    lines = [*words[EXPRESSIONS:], *(rf"/\b{word[:3]}\w*{word[3:6]}\w*{word[6:]}[sz]?\b/" for word in words[:EXPRESSIONS])]
    path = folder / "blocklist.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def times(texts: Sequence[str], lines: Sequence[str], settings: Settings) -> tuple[float, list[float]]:
    """Return the seconds of indexing the texts, and the milliseconds of each line."""
    began = time.perf_counter()
    learned, manner = TrainingPosts(texts), Manner(texts)
    indexing = time.perf_counter() - began
    safety, said = Safety(settings), Said((text, "") for text in texts[:SAID])
    safety.judge("The first line reads tables of phone numbers and words.", learned, said)
    found = []
    for line in lines:
        began = time.perf_counter()
        safety.judge(line, learned, said)
        manner.share(line)
        found.append(1000 * (time.perf_counter() - began))
    return indexing, found


def refusals(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of the texts that each rule refuses, by the first rule that a text breaks."""
    safety, nothing, nobody = Safety(Settings()), TrainingPosts([]), Said()
    counted = Counter(safety.judge(text, nothing, nobody).name for text in texts)
    return {rule: counted[rule] / len(texts) for rule in RULES}


def table(shares: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> str:
    """Return the shares of refused posts as Markdown."""
    rows = ["| account | posts | " + " | ".join(RULES) + " |", "|" + " --- |" * (2 + len(RULES))]
    rows += [f"| {name} | {counts[name]:,} | " + " | ".join(f"{one[rule]:.2%}" for rule in RULES) + " |" for name, one in shares.items()]
    return "\n".join(rows)


def main(words: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    parser = command.parser("filter", __doc__, "made-up accounts", "corpora", "seed")
    parser.add_argument("--voice", default="dril", help="the account whose lines are timed")
    parser.add_argument("--posts", type=int, default=3200, help="that a line is compared with")
    parser.add_argument("--lines", type=int, default=1000, help="that are timed")
    parser.add_argument("--real", type=int, default=3000, help="newest posts of each account that the rules are tried on")
    arguments = command.parse(parser, words, {"voice": "ann", "posts": 100, "lines": 30})
    if min(arguments.posts, arguments.lines, arguments.real) < 1:
        parser.error("--posts, --lines and --real are numbers from 1 on")
    most, seed = arguments.posts + arguments.lines, arguments.seed
    texts = texts_of(arguments.corpora, arguments.voice, most, seed, small=arguments.small)
    if len(texts) < most:
        parser.error(f"{arguments.voice} has {len(texts):,} usable posts, and --posts and --lines together want {most:,}")
    with TemporaryDirectory() as folder:
        path = blocklist(Path(folder), seed)
        rules = len(Blocklist(path).rules)
        indexing, found = times(texts[arguments.lines :], texts[: arguments.lines], Settings(blocklist=path, profanity="none"))
    figures = {"p50_ms": quantile(found, 0.5), "p99_ms": quantile(found, 0.99), "max_ms": max(found), "indexing_seconds": indexing}
    met = "met" if figures["p99_ms"] < GOAL_MS else "missed"
    print(
        f"{arguments.voice}, {len(found):,} lines against {arguments.posts:,} posts and {rules:,} blocked words: p50"
        f" {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms, worst {figures['max_ms']:.2f} ms a line (goal for p99: {GOAL_MS:g}"
        f" ms, {met}); the posts are indexed in {indexing:.2f} s.\n"
    )
    names = ["ann", "bob"] if arguments.small else ACCOUNTS
    everything = {name: texts_of(arguments.corpora, name, arguments.real, seed, small=arguments.small) for name in names}
    shares = {name: refusals(own) for name, own in everything.items()}
    print(table(shares, {name: len(own) for name, own in everything.items()}))
    command.write_settings(arguments, line=figures, refused=shares)


if __name__ == "__main__":
    main()
