"""Accounts that no sensible person would train on, and somebody will: raw posts by name, and the corpora of those that are accepted."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache

from data.corpus import Corpus, build_corpus
from data.errors import TooLittleTextError
from data.tweets import Tweet

WORDS = ("mynah", "repeats", "what", "other", "birds", "have", "said", "before", "noon", "and", "after", "supper", "with", "flourish")
ARABIC = ("الطائر", "يكرر", "ما", "قالته", "الطيور", "الأخرى", "قبل", "الظهر", "وبعد", "العشاء", "في", "الحديقة", "كل", "يوم")
HEBREW = ("הציפור", "חוזרת", "על", "מה", "שאמרו", "הציפורים", "האחרות", "לפני", "הצהריים", "ואחרי", "הארוחה", "בגינה")
# Joined, toned, with a variation selector, a flag, a keycap: what one picture is made of.
EMOJI = (
    "😂",
    "🔥",
    "👩\u200d👧",
    "👍🏽",
    "❤\ufe0f",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "🇯🇵",
    "1\ufe0f\u20e3",
    "🎉",
)


def _tweets(texts: list[str], *, retweets: bool = False) -> list[Tweet]:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    return [Tweet(str(1 + n), start + timedelta(minutes=n), text, is_retweet=retweets) for n, text in enumerate(texts)]


def _sentences(count: int, words: tuple[str, ...] = WORDS, length: int = 12) -> list[str]:
    draw = random.Random(count)
    return [" ".join([*draw.choices(words, k=length), str(n)]) for n in range(count)]


def _right_to_left() -> list[str]:
    arabic = [f"\u202b{text}\u202c \u200f@ann" for text in _sentences(400, ARABIC)]
    return arabic + _sentences(100, HEBREW)


def _emoji() -> list[str]:
    draw = random.Random(0)
    return [" ".join("".join(draw.choices(EMOJI, k=draw.randint(1, 4))) for _ in range(draw.randint(1, 9))) for _ in range(500)]


def _controls() -> list[str]:
    draw = random.Random(0)
    controls = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
    spoilt = ["".join(char + (draw.choice(controls) if draw.random() < 0.3 else "") for char in text) for text in _sentences(300)]
    return [*spoilt, *(" ".join(draw.choices(controls, k=9)) for _ in range(50)), *["\u200b \u200e \u2060"] * 50]


@cache
def degenerate_accounts() -> dict[str, list[Tweet]]:
    """Return the posts of each account by what is wrong with it."""
    draw = random.Random(0)
    links = [" ".join(f"https://t.co/{draw.randrange(16**8):08x}" for _ in range(1 + n % 4)) for n in range(500)]
    mentions = [" ".join(f"@bird_{draw.randrange(1000)}" for _ in range(3 + n % 20)) for n in range(500)]
    long = ("a very long post that goes on and on " * 700)[:25_000]
    return {
        "one post 500 times": _tweets(["the same old song of a mynah in a cage at the window"] * 500),
        "all emoji": _tweets(_emoji()),
        "all links": _tweets(links),
        "all retweets": _tweets([f"RT @bob: {text}" for text in _sentences(500)], retweets=True),
        "20 posts": _tweets(_sentences(20, length=40)),
        "one post of 25,000 characters": _tweets([long]),
        "one of 25,000 characters among short ones": _tweets([long, *_sentences(60)]),
        "right to left": _tweets(_right_to_left()),
        "only mentions": _tweets(mentions),
        "control characters": _tweets(_controls()),
        "50,000 posts": _tweets(_sentences(50_000)),
    }


@cache
def degenerate_corpora(max_posts: int = 1_000) -> dict[str, Corpus]:
    """Return the corpora of those accounts that are not refused, by what is wrong with them; the account's handle is `bob`."""
    corpora = {}
    for name, tweets in degenerate_accounts().items():
        try:
            corpora[name] = build_corpus({"bob": tweets}, max_posts=max_posts, seed=0)
        except TooLittleTextError:
            continue
    return corpora
