"""What is measured of a voice's lines, beside the same of its account's own posts: whose they look like, how varied, how copied."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from data.cleaning import UNSPACED
from data.copies import TrainingPosts

#: A word between spaces, or one letter of a script without spaces.
_WORD = re.compile(rf"{UNSPACED.pattern}|[^\s{UNSPACED.pattern[1:-1]}]+")


class Attribution:
    """Says whose a text looks like: logistic regression on the tf-idf of character 1- to 4-grams, case and all."""

    def __init__(self, posts: Mapping[str, Sequence[str]]) -> None:
        """Learn from as many posts of each account as the one with the fewest has."""
        fewest = min(map(len, posts.values()))
        texts = [text for own in posts.values() for text in own[:fewest]]
        names = [name for name, own in posts.items() for _ in own[:fewest]]
        self._model = make_pipeline(
            TfidfVectorizer(analyzer="char", ngram_range=(1, 4), lowercase=False, min_df=2, sublinear_tf=True),
            LogisticRegression(C=10, class_weight="balanced", max_iter=1000),
        )
        self._model.fit(texts, names)

    def shares(self, texts: Sequence[str]) -> dict[str, float]:
        """Return for each account the share of texts that are taken for its own."""
        guesses = list(self._model.predict(texts))
        return {str(name): guesses.count(name) / len(texts) for name in self._model.classes_}


def distinct_2(texts: Sequence[str]) -> float:
    """Return how many of all pairs of neighbouring words differ, 0 to 1; it falls with the number of texts, so compare equal numbers."""
    pairs = [pair for text in texts for words in [_WORD.findall(text.casefold())] for pair in pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def mean_length(texts: Sequence[str]) -> float:
    """Return the mean number of characters."""
    return sum(map(len, texts)) / len(texts)


def copy_rate(texts: Sequence[str], training: TrainingPosts) -> float:
    """Return the share of texts that copy a training post."""
    return sum(map(training.copied_in, texts)) / len(texts)
