"""What a post answers: stored, joined into the corpus, and forgotten. The readers' tests tell how it is read."""

import hashlib
import json
import sqlite3
from dataclasses import asdict, replace

from sqlite_utils import Database

import data.migrations as schema
from data import accounts, jobs
from data.corpus import Corpus, build_corpus
from data.store import Store
from data.tweets import Tweet
from tests.conftest import made_up_tweets

RECIPE = {"base": "tiny-random", "method": "lora"}


def _posts(corpus):
    return (*corpus.train, *corpus.stop, *corpus.report)


def _parents(corpus):
    return {post.text: post.parent for post in _posts(corpus) if post.parent}


class TestStored:
    async def test_importing_again_fills_what_is_missing(self, store):
        """Rows from before learn what they answer and count as nothing new; what a row knows already stays."""
        first = [Tweet(str(n), None, f"post {n} of some words") for n in range(4)]
        assert await store.write(accounts.add_tweets, "ann", first) == 4
        second = [
            replace(first[1], in_reply_to="0"),
            replace(first[2], in_reply_to="1", text="changed"),
            Tweet("4", None, "new", in_reply_to="2"),
        ]
        assert await store.write(accounts.add_tweets, "ann", second) == 1
        assert await store.write(accounts.add_tweets, "ann", [replace(first[1], in_reply_to="3"), *first[2:]]) == 0
        stored = await store.read(accounts.read_tweets, "ann")
        assert stored == [first[0], second[0], replace(first[2], in_reply_to="1"), first[3], second[2]]

    async def test_a_database_from_before(self, settings):
        """Its rows are kept, with nothing known of what they answer, until the account is imported again."""
        settings.database.parent.mkdir(parents=True)
        connection = sqlite3.connect(settings.database)
        schema.migrations.apply(Database(connection), stop_before="m009_parents")
        connection.execute("INSERT INTO accounts VALUES ('ann', '')")
        connection.execute("INSERT INTO tweets VALUES ('ann', '7', NULL, 'words', 0, 1, '')")
        connection.commit()
        connection.close()
        async with Store(settings.database) as store:
            assert await store.read(accounts.read_tweets, "ann") == [Tweet("7", None, "words", is_reply=True)]
            again = [Tweet("7", None, "words", is_reply=True, in_reply_to="6")]
            assert await store.write(accounts.add_tweets, "ann", again) == 0
            assert await store.read(accounts.read_tweets, "ann") == again

    async def test_parents_are_anybodys(self, store):
        """Of all accounts, only what these answer."""
        await store.write(accounts.add_tweets, "ann", [Tweet("1", None, "hello &amp; bye"), Tweet("2", None, "not answered")])
        await store.write(accounts.add_tweets, "bob", [Tweet("3", None, "x", in_reply_to="1"), Tweet("4", None, "y", in_reply_to="3")])
        await store.write(accounts.add_tweets, "cy", [Tweet("5", None, "z", in_reply_to="2"), Tweet("6", None, "z", in_reply_to="99")])
        assert await store.read(accounts.read_parents, ["bob"]) == {"1": "hello &amp; bye", "3": "x"}
        assert await store.read(accounts.read_parents, ["bob", "cy"]) == {"1": "hello &amp; bye", "3": "x", "2": "not answered"}
        assert await store.read(accounts.read_parents, ["ann"]) == {}


class TestCorpus:
    def test_joined(self):
        """Own threads and others' posts, cleaned as posts are; one that is not there, or of which nothing is left, is none."""
        tweets = made_up_tweets(150)
        answers = [
            Tweet("a", None, "own thread goes on here", in_reply_to="1007"),
            Tweet("b", None, "to somebody else I say", in_reply_to="55"),
            Tweet("c", None, "to the unknown I say", in_reply_to="56"),
            Tweet("d", None, "to a picture I say", in_reply_to="57"),
            Tweet("e", None, "to a short one I say", in_reply_to="58"),
        ]
        parents = {"55": "fish &amp; \x07chips\n https://t.co/x", "57": "https://t.co/y", "58": "why?", "59": "never asked for"}
        corpus = build_corpus({"ann": [*tweets, *answers]}, max_posts=1_000, seed=0, parents=parents)
        assert _parents(corpus) == {
            "own thread goes on here": tweets[7].text,
            "to somebody else I say": "fish & chips",
            "to a short one I say": "why?",
        }

    def test_own_id_before_others(self):
        """An id that a person made up means the account's own post, also in a joint voice."""
        made = {
            handle: [Tweet(t.id, t.created_at, f"{t.text} {handle}") for t in made_up_tweets(150, n)]
            for n, handle in enumerate(("ann", "bob"))
        }
        both = {handle: [*tweets, Tweet("z", None, f"{handle} has an answer", in_reply_to="1003")] for handle, tweets in made.items()}
        corpus = build_corpus(both, max_posts=1_000, seed=0, parents={"1003": "a third one's"})
        assert _parents(corpus) == {"ann has an answer": made["ann"][3].text, "bob has an answer": made["bob"][3].text}

    def test_hash(self):
        """Without parents it is the hash from before there were any; parents change it, the language does not."""
        tweets = made_up_tweets(150)
        corpus = build_corpus({"ann": tweets}, max_posts=1_000, seed=0)
        before = {
            "handles": ["ann"],
            "counts": {"ann": asdict(corpus.counts["ann"])},
            "warnings": list(corpus.warnings),
            **{name: [{"author": p.author, "text": p.text} for p in getattr(corpus, name)] for name in ("train", "stop", "report")},
        }
        text = json.dumps(before, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()
        assert corpus.languages == {"ann": "en"}
        loaded = Corpus.from_json(text)
        assert (loaded.languages, loaded.sha256, _posts(loaded)) == ({"ann": "und"}, corpus.sha256, _posts(corpus))
        assert Corpus.from_json(json.dumps(before | {"language": "en"})).languages == {"ann": "en"}
        assert Corpus.from_json(corpus.to_json()) == corpus
        tweets[9] = Tweet(tweets[9].id, tweets[9].created_at, tweets[9].text, in_reply_to=tweets[8].id)
        answering = build_corpus({"ann": tweets}, max_posts=1_000, seed=0)
        assert answering.sha256 != corpus.sha256
        again = Corpus.from_json(answering.to_json())
        assert again == answering
        assert (again.sha256, again.languages, _parents(again)) == (answering.sha256, {"ann": "en"}, {tweets[9].text: tweets[8].text})


async def test_forgetting_takes_the_words_that_others_answered(store, settings):
    """They go from the corpora and the files of those who answered; what others said stays."""
    secret, kept = 'a secret with "quotes", and ,"parent": in it', "some words of the third"
    await store.write(accounts.add_tweets, "ann", [Tweet("1", None, f"{secret} https://t.co/x")])
    await store.write(accounts.add_tweets, "cy", [Tweet("2", None, kept)])
    answers = [Tweet("a", None, "an answer to the first", in_reply_to="1"), Tweet("b", None, "an answer to the third", in_reply_to="2")]
    await store.write(accounts.add_tweets, "bob", [*made_up_tweets(150), *answers])
    tweets, parents = await store.read(accounts.read_tweets, "bob"), await store.read(accounts.read_parents, ["bob"])
    corpus = build_corpus({"bob": tweets}, max_posts=1_000, seed=0, parents=parents)
    assert _parents(corpus) == {"an answer to the first": secret, "an answer to the third": kept}
    job, _ = await store.write(jobs.enqueue, "bob", corpus, RECIPE, "test")
    await store.write(accounts.forget, "ann")
    await store.wipe()
    left = await store.read(jobs.corpus_of, job.corpus)
    assert _parents(left) == {"an answer to the third": kept}
    assert {post.text for post in _posts(left)} == {post.text for post in _posts(corpus)}
    assert b"a secret with" not in b"".join(path.read_bytes() for path in settings.data_dir.glob("mynah.db*"))
