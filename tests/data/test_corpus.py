"""Counting, choosing, splitting and balancing."""

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.corpus import Corpus, CorpusPost, Counts, build_corpus
from data.errors import DamagedError, TooLittleTextError
from data.tweets import Tweet

START = datetime(2020, 1, 1, tzinfo=UTC)
WORDS = ("mynah", "repeats", "what", "other", "birds", "have", "said", "before", "noon", "and", "after", "supper", "with", "flourish")


def _tweets(count, *, seed=0, words=12, first=0):
    draw = random.Random(seed)
    return [
        Tweet(str(n), START + timedelta(minutes=n), " ".join(draw.choices(WORDS, k=words)) + f" {seed}.{n}")
        for n in range(first, first + count)
    ]


def _build(posts, **options):
    return build_corpus(posts, **({"max_posts": 100_000, "seed": 1} | options))


class TestCounts:
    def test_identity(self):
        """Counts that do not add up cannot be made."""
        Counts(10, 3, 2, 5, 5)
        for wrong in [(10, 3, 2, 6, 0), (10, 3, 2, 5, 6), (10, 3, 2, 5, -1), (4, -1, 2, 3, 0)]:
            with pytest.raises(ValueError, match=r"count|downloaded|duplicates"):
                Counts(*wrong)

    def test_each_kind(self):
        """Retweets, short posts and duplicates are counted, and duplicates are kept posts."""
        tweets = [
            *_tweets(200),
            Tweet("a", START, "RT @bob: words of somebody else", is_retweet=True),
            Tweet("b", START, "too short"),
            Tweet("c", START, "the same &amp; same   again"),
            Tweet("d", START, "the same & same again https://t.co/x"),
            Tweet("e", START, "\x00 \x01 \x02"),
        ]
        assert _build({"bob": tweets}).counts == {"bob": Counts(205, 1, 1, 203, 2)}

    def test_controls(self):
        """No control character reaches the trainer."""
        corpus = _build({"bob": [*_tweets(200), Tweet("x", START, "it \x00 has \x07b\x1bells in it")]})
        assert "it has bells in it" in {post.text for post in (*corpus.train, *corpus.stop, *corpus.report)}

    def test_across_accounts(self):
        """A text that two accounts share stays with the first by name."""
        shared = _tweets(50, seed=9)
        corpus = _build({"zed": [*_tweets(150, seed=1), *shared], "ann": [*_tweets(150, seed=2), *shared]})
        assert corpus.handles == ("ann", "zed")
        assert (corpus.counts["ann"].duplicates, corpus.counts["zed"].duplicates) == (0, 50)


class TestNewest:
    def _texts(self, tweets, max_posts):
        corpus = _build({"bob": tweets}, max_posts=max_posts)
        return {post.text for post in (*corpus.train, *corpus.stop, *corpus.report)}

    def test_by_time(self):
        """The newest by time stay, whatever the order in the file."""
        tweets = _tweets(300)
        expected = {tweet.text for tweet in tweets[-100:]}
        random.Random(3).shuffle(tweets)
        assert self._texts(tweets, 100) == expected

    def test_by_id(self):
        """In one second the higher number is the newer, not the higher string."""
        tweets = [Tweet(str(n), START, f"post number {n} of some words " + "and more " * 9) for n in range(5, 305)]
        random.Random(3).shuffle(tweets)
        assert self._texts(tweets, 100) == {" ".join(tweet.text.split()) for tweet in tweets if int(tweet.id) >= 205}

    def test_without_times(self):
        """Posts without a time are older than the others, and the last of them is the newest."""
        undated = [Tweet(tweet.id, None, tweet.text) for tweet in _tweets(200, seed=1)]
        dated = _tweets(60, seed=2, first=1_000)
        assert self._texts([*dated, *undated], 100) == {tweet.text for tweet in (*dated, *undated[-40:])}


class TestThresholds:
    def _account(self, characters, posts=50):
        each, rest = divmod(characters - 13 * (posts - 1), posts)
        texts = [f"{n:03d} and then ".ljust(each + (rest if n == 0 else 0), "x") for n in range(posts)]
        return {"bob": [Tweet(str(n), START, text) for n, text in enumerate(texts)]}

    @pytest.mark.parametrize(("characters", "warnings"), [(6_000, 1), (39_999, 1), (40_000, 0)])
    def test_warning(self, characters, warnings):
        """Below 40,000 characters with separators there is a warning that names account, figure and remedy."""
        corpus = _build(self._account(characters))
        assert len(corpus.warnings) == warnings
        for warning in corpus.warnings:
            assert f"@bob has {characters:,} characters" in warning
            assert "import more posts" in warning

    def test_error(self):
        """Below 6,000 it is an error."""
        with pytest.raises(TooLittleTextError, match=r"@bob has 5,999 characters in 50 usable posts of 50.*6,000: import more posts\.$"):
            _build(self._account(5_999))

    def test_cut(self):
        """Where max_posts made it so little, that is what is said."""
        with pytest.raises(TooLittleTextError, match="raise max_posts"):
            _build({"bob": _tweets(1_000)}, max_posts=10)
        assert "raise max_posts" in _build({"bob": _tweets(1_000)}, max_posts=200).warnings[0]

    def test_few_posts(self):
        """Two posts cannot fill three splits, however long; no posts at all are too little."""
        long = [Tweet(str(n), START, f"{n} " + "many words " * 1_000) for n in range(2)]
        with pytest.raises(TooLittleTextError, match="3 posts"):
            _build({"bob": long})
        with pytest.raises(TooLittleTextError, match="0 characters"):
            _build({"bob": []})

    def test_misuse(self):
        """No account, or a limit of no posts, is the caller's mistake."""
        for posts, limit in (({}, 5), ({"bob": _tweets(300)}, 0)):
            with pytest.raises(ValueError, match="needs an account"):
                _build(posts, max_posts=limit)


class TestSplits:
    @settings(max_examples=25)
    @given(count=st.integers(80, 300), repeated=st.integers(0, 40), seed=st.integers(0, 2**40), order=st.randoms(use_true_random=False))
    def test_properties(self, count, repeated, seed, order):
        """No text is in two splits, the splits hold all distinct posts, and order changes nothing."""
        ann, bob = _tweets(count, seed=5), _tweets(150, seed=6)
        ann += [Tweet(f"r{n}", START, ann[n].text) for n in range(repeated)]
        corpus = _build({"ann": ann, "bob": bob}, seed=seed)
        train, stop, report = ({post.text for post in split} for split in (corpus.train, corpus.stop, corpus.report))
        assert not train & stop
        assert not train & report
        assert not stop & report
        assert train | stop | report == {tweet.text for tweet in (*ann, *bob)}
        assert min(len(train), len(stop), len(report)) >= 1
        assert len(corpus.report) == len(report) == count // 10 + 15
        assert corpus.counts["ann"].duplicates == repeated
        order.shuffle(ann)
        assert _build({"bob": bob, "ann": ann}, seed=seed) == corpus

    def test_added_posts(self):
        """A hundred posts more move few of a thousand."""
        before, after = _build({"bob": _tweets(1_000)}), _build({"bob": _tweets(1_000) + _tweets(100, seed=8, first=2_000)})

        def places(corpus):
            return {post.text: name for name in ("train", "stop", "report") for post in getattr(corpus, name)}

        was, is_ = places(before), places(after)
        assert sum(was[text] != is_[text] for text in was) <= 40

    def test_seed(self):
        """Another seed splits and orders otherwise."""
        first, second = _build({"bob": _tweets(300)}, seed=1), _build({"bob": _tweets(300)}, seed=2)
        assert set(first.report) != set(second.report)
        assert first.sha256 != second.sha256


class TestBalance:
    def test_joint_voice(self):
        """The smaller account's train posts are repeated until its characters reach the larger's; the other splits are not."""
        corpus = _build({"big": _tweets(1_000, seed=1), "small": _tweets(120, seed=2)})
        characters = Counter()
        for post in corpus.train:
            characters[post.author] += len(post.text)
        assert characters["big"] <= characters["small"] < characters["big"] + 200
        times = Counter(post.text for post in corpus.train if post.author == "small")
        assert len(times) == 96
        assert max(times.values()) - min(times.values()) <= 1
        assert set(Counter(post.text for post in corpus.train if post.author == "big").values()) == {1}
        for split in (corpus.stop, corpus.report):
            assert len(set(split)) == len(split)
            assert {post.author for post in split} == {"big", "small"}

    def test_alone(self):
        """One account's posts are not repeated."""
        assert len(_build({"bob": _tweets(200)}).train) == 160


class TestJson:
    def test_round_trip(self):
        """A corpus comes back equal, with the same hash."""
        corpus = _build(
            {"ann": _tweets(100, seed=1), "bob": [*_tweets(100, seed=2), Tweet("x", None, "日本語の投稿です 👩\u200d👧 \u2028 ok")]}
        )
        again = Corpus.from_json(corpus.to_json())
        assert again == corpus
        assert again.sha256 == corpus.sha256
        assert len(corpus.sha256) == 64
        assert again.train[0] == CorpusPost(corpus.train[0].author, corpus.train[0].text)

    @pytest.mark.parametrize("text", ["", "[]", "5", "{}", '{"handles": 5}', "[" * 100_000, '{"handles":["a"],"counts":{"a":{"x":1}}}'])
    def test_damaged(self, text):
        """Anything else is said to be damaged."""
        with pytest.raises(DamagedError):
            Corpus.from_json(text)


def test_speed():
    """Ten thousand posts take well under 1.5 s."""
    tweets = _tweets(10_000, words=25)
    started = time.process_time()
    _build({"bob": tweets})
    assert time.process_time() - started < 1.5
