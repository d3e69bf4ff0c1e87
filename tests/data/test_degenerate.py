"""Ten accounts that no sensible person would train on: a sensible corpus, or a sentence that says why not."""

import hashlib
import re
import time
from dataclasses import replace

import pytest

from data.choosing import Counts, count_tweets
from data.corpus import build_corpus
from data.errors import TooLittleTextError
from data.tweets import Tweet
from tests.degenerate import degenerate_accounts, degenerate_corpora

NEEDS = ", and training needs 6,000: import more posts."
REFUSED = {
    "one post 500 times": "@bob has 52 characters in 1 usable post of 500 (499 repeated or empty)" + NEEDS,
    "all links": "@bob has 0 characters in 0 usable posts of 500 (500 too short)" + NEEDS,
    "all retweets": "@bob has 0 characters in 0 usable posts of 500 (500 retweets)" + NEEDS,
    "20 posts": "@bob has 5,088 characters in 20 usable posts of 20" + NEEDS,
    "one post of 25,000 characters": "@bob has 25,000 characters in 1 usable post of 1, and training needs 3 posts, one for each split: "
    "import more posts.",
    "only mentions": "@bob has 0 characters in 0 usable posts of 500 (500 too short)" + NEEDS,
}
ACCEPTED = {
    "all emoji": (Counts(500, 0, 118, 382, 0), "und"),
    "one of 25,000 characters among short ones": (Counts(61, 0, 0, 61, 0), "en"),
    "right to left": (Counts(500, 0, 0, 500, 0), "ar"),
    "control characters": (Counts(400, 0, 0, 400, 100), "en"),
    "50,000 posts": (Counts(50_000, 0, 0, 50_000, 0), "en"),
}


def test_each_is_refused_or_accepted():
    assert REFUSED.keys() | ACCEPTED.keys() == degenerate_accounts().keys()
    assert degenerate_corpora().keys() == ACCEPTED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    """The sentence has the figures, where the posts went, and what to do; the counts are told all the same."""
    tweets = degenerate_accounts()[name]
    with pytest.raises(TooLittleTextError) as caught:
        build_corpus({"bob": tweets}, max_posts=1_000, seed=0)
    assert str(caught.value) == REFUSED[name]
    counts = count_tweets(tweets)
    assert counts.downloaded == len(tweets) == counts.retweets + counts.short + counts.kept


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name):
    """All posts are accounted for, no split is empty, no text is in two, none is empty or has a control character."""
    tweets = degenerate_accounts()[name]
    corpus = build_corpus({"bob": tweets}, max_posts=100_000, seed=0)
    counts, language = ACCEPTED[name]
    assert corpus.counts["bob"] == counts
    assert counts.downloaded == len(tweets) == counts.retweets + counts.short + counts.kept
    assert corpus.languages == {"bob": language}
    splits = [{post.text for post in split} for split in (corpus.train, corpus.stop, corpus.report)]
    assert min(map(len, splits)) >= 1
    assert sum(map(len, splits)) == len(set.union(*splits)) == counts.kept - counts.duplicates
    for text in set.union(*splits):
        assert text.strip()
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text)


def test_marks_of_right_to_left_stay():
    """They tell how a mixed line is to be read, so they are part of what is learned."""
    assert sum(post.text.startswith("\u202b") for post in degenerate_corpora()["right to left"].train) > 200


def test_fifty_thousand_posts_take_seconds():
    tweets = degenerate_accounts()["50,000 posts"]
    build_corpus({"bob": tweets[:200]}, max_posts=1_000, seed=0)  # loads the language model, which is measured elsewhere
    started = time.process_time()
    build_corpus({"bob": tweets}, max_posts=100_000, seed=0)
    assert time.process_time() - started < 5


def test_too_little_is_left_to_learn_from():
    """Where the long posts were held out and what remains are crumbs, of which a joint voice would be fed millions of copies."""
    first, second = degenerate_accounts()["20 posts"][:2]
    long = [replace(tweet, text=f"{tweet.text} " * 20) for tweet in (first, second)]
    account = {"bob": [*long, *(Tweet(f"c{n}", None, f"{n} small crumb") for n in range(8))]}
    held_out = next(seed for seed in range(1_000) if _first_two(seed, account["bob"]) == {tweet.text.strip() for tweet in long})
    with pytest.raises(
        TooLittleTextError, match=r"^@bob has 10 usable posts, .*1,000 characters in the others, which have 104: import more"
    ):
        build_corpus(account, max_posts=1_000, seed=held_out)
    split = next(seed for seed in range(1_000) if len(_first_two(seed, account["bob"]) & {tweet.text.strip() for tweet in long}) == 1)
    assert sum(len(post.text) for post in build_corpus(account, max_posts=1_000, seed=split).train) >= 1_000


def _first_two(seed, tweets):
    texts = sorted((tweet.text.strip() for tweet in tweets), key=lambda text: hashlib.sha256(f"{seed}\n{text}".encode()).digest())
    return set(texts[:2])
