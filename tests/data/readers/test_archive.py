"""X's archive: layouts, edits, notes, links, the manifest, and what stays unopened."""

import json
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from data.cleaning import clean
from data.errors import SourceError
from data.readers import read_posts
from data.readers.container import FolderContainer

LONG = "A long post & its story <3. " + "It goes on and on, past what a short post may hold. " * 12


def _note(text, created_at="2023-02-18T12:33:01.000Z", **core):
    return {"noteTweet": {"noteTweetId": "7", "createdAt": created_at, "core": {"text": text, "urls": [], **core}}}


def _escaped(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text):
    return _escaped(text[:270]) + "… https://t.co/abcdefghij"


class TestLayouts:
    @pytest.mark.parametrize("under", ["", "twitter-2023-02-18/", "café 日本/"])
    @pytest.mark.parametrize("manifest", [True, False])
    def test_zip(self, make_tweet, make_files, write_zip, under, manifest):
        """A zip is read with its files at top level or under one folder, with or without a manifest."""
        path = write_zip(make_files([make_tweet(n) for n in range(5)], manifest=manifest), under=under)
        assert len(list(read_posts(path))) == 5

    @pytest.mark.parametrize("under", ["", "twitter-2023-02-18"])
    def test_folder(self, make_tweet, make_files, write_folder, under):
        """An unpacked archive is read as its zip is, also where one folder more was made on unpacking."""
        path = write_folder(make_files([make_tweet(n) for n in range(5)]), under=under)
        assert len(list(read_posts(path))) == 5
        assert len(list(read_posts(path / under / "data"))) == 5

    def test_parts(self, make_tweet, make_files, write_zip):
        """Parts are put together whatever their numbers, and an id in two of them is one post."""
        files = make_files([make_tweet(n) for n in range(9)], parts=3, manifest=False)
        files["data/tweets-part17.js"] = files["data/tweets.js"]
        assert len(list(read_posts(write_zip(files)))) == 9

    @pytest.mark.parametrize("name", ["tweet.js", "data/tweet.js", "data/tweet-part2.js", "data/YTD.tweet.part0", "YTD.tweet.part0.js"])
    def test_older_names(self, make_tweet, write_zip, name):
        """The names of 2019 to 2022 are read, also without the wrapper `tweet`."""
        elements = [make_tweet(1), make_tweet(2)["tweet"]]
        path = write_zip({name: "window.YTD.tweet.part0 = " + json.dumps(elements)})
        assert len(list(read_posts(path))) == 2

    def test_grailbird(self, write_zip):
        """The monthly files of before 2019 have `text`, numbers as numbers, and another form of time."""
        element = {
            "id_str": "429000000000000000",
            "id": 429000000000000000,
            "created_at": "2014-01-31 12:33:11 +0000",
            "text": "see http://t.co/abc now",
            "in_reply_to_user_id": 5,
            "entities": {"urls": [{"url": "http://t.co/abc", "indices": [4, 19]}]},
        }
        retweet = {"id": 429000000000000001, "created_at": "2014-01-31 12:33:12 +0000", "text": "words", "retweeted_status": {"id": 1}}
        path = write_zip(
            {
                "data/js/tweets/2014_01.js": "Grailbird.data.tweets_2014_01 = \n " + json.dumps([element, retweet]),
                "data/js/tweet_index.js": "var x",
            }
        )
        first, second = read_posts(path)
        assert first.text == "see  now"
        assert first.created_at == datetime(2014, 1, 31, 12, 33, 11, tzinfo=UTC)
        assert first.is_reply
        assert not first.is_retweet
        assert second.is_retweet

    @pytest.mark.parametrize("end", ["", ";", " ;\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_lone_file(self, make_tweet, tmp_path, end, mark):
        """A lone tweets.js is read, with a byte order mark or a semicolon too."""
        path = tmp_path / "tweets.js"
        path.write_text(mark + "window.YTD.tweets.part0 = " + json.dumps([make_tweet()]) + end, encoding="utf-8")
        assert len(list(read_posts(path))) == 1

    @pytest.mark.parametrize("name", ["deleted_tweets", "account", "direct_messages", "like"])
    def test_lone_private_file(self, make_tweet, tmp_path, name):
        """A lone file of something else is refused by the name of its variable, though its entries may look like posts."""
        path = tmp_path / "tweets.js"
        path.write_text(f"window.YTD.{name}.part0 = " + json.dumps([make_tweet()]), encoding="utf-8")
        with pytest.raises(SourceError, match=r"tweets\.js is not a file of posts"):
            list(read_posts(path))

    def test_two_archives(self, make_tweet, make_files, write_zip):
        """Two accounts in one zip are not mixed."""
        files = make_files([make_tweet()])
        both = {f"{folder}/{name}": content for folder in "ab" for name, content in files.items()}
        with pytest.raises(SourceError, match="more than one archive"):
            list(read_posts(write_zip(both)))


class TestPrivacy:
    def test_zip_members(self, make_tweet, make_files, write_zip, monkeypatch):
        """Of a zip only posts, notes and the manifest are opened; any other member raises."""
        path = write_zip(make_files([make_tweet(1, LONG[:280])], notes=[_note(LONG)], community=[make_tweet(2)]))
        opened = []
        real = zipfile.ZipFile.open

        def guarded(self, member, *args, **kwargs):
            opened.append(getattr(member, "filename", member))
            assert opened[-1] in {"data/tweets.js", "data/note-tweet.js", "data/community-tweet.js", "data/manifest.js"}
            return real(self, member, *args, **kwargs)

        monkeypatch.setattr(zipfile.ZipFile, "open", guarded)
        monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
        assert len(list(read_posts(path))) == 2
        assert sorted(opened) == ["data/community-tweet.js", "data/manifest.js", "data/note-tweet.js", "data/tweets.js"]

    def test_folder_members(self, make_tweet, make_files, write_folder, monkeypatch):
        """Of a folder too."""
        path = write_folder(make_files([make_tweet(1)]))
        opened = []
        real = FolderContainer._read
        monkeypatch.setattr(FolderContainer, "_read", lambda self, name: opened.append(name) or real(self, name))
        assert len(list(read_posts(path))) == 1
        assert sorted(opened) == ["data/manifest.js", "data/tweets.js"]


class TestFields:
    def test_plain_post(self, make_tweet, make_files, write_zip):
        """Text stays escaped, the time is in UTC, the id a string."""
        (tweet,) = read_posts(write_zip(make_files([make_tweet(7, "fish &amp; chips &lt;3", created_at="Sat Feb 18 14:33:07 +0200 2023")])))
        assert tweet.id == "1000000000000000007"
        assert tweet.created_at == datetime(2023, 2, 18, 12, 33, 7, tzinfo=UTC)
        assert tweet.created_at.utcoffset() == timedelta(0)
        assert tweet.text == "fish &amp; chips &lt;3"
        assert not tweet.is_retweet
        assert tweet.is_reply is False

    @pytest.mark.parametrize(
        ("text", "expected"),
        [("RT @bob: hello", True), ("RT OFFICIAL: hello", False), ("so RT @bob: hello", False), ("RT @bob hello", False)],
    )
    def test_retweet(self, make_tweet, make_files, write_zip, text, expected):
        """A retweet shows by its beginning, for `retweeted` is always false."""
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, text)])))
        assert tweet.is_retweet is expected

    @pytest.mark.parametrize("field", ["in_reply_to_status_id", "in_reply_to_user_id_str", "in_reply_to_screen_name"])
    def test_reply(self, make_tweet, make_files, write_zip, field):
        """A reply shows by any of its fields: some of them can be missing."""
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, **{field: "12"})])))
        assert tweet.is_reply is True

    @pytest.mark.parametrize(
        ("fields", "parent"),
        [
            ({"in_reply_to_status_id_str": "768467755339223040", "in_reply_to_status_id": "1"}, "768467755339223040"),
            ({"in_reply_to_status_id": 768467755339223040}, "768467755339223040"),
            ({"in_reply_to_status_id_str": None, "in_reply_to_status_id": "12"}, "12"),
            ({"in_reply_to_status_id": "-1"}, None),
            ({"in_reply_to_status_id": {"$numberLong": "12"}}, None),
            ({"in_reply_to_user_id_str": "12", "in_reply_to_screen_name": "ann"}, None),
            ({}, None),
        ],
    )
    def test_parent(self, make_tweet, make_files, write_zip, fields, parent):
        """The post answered is told by its id alone, as a string."""
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, **fields)])))
        assert tweet.in_reply_to == parent

    def test_lone_surrogate(self, make_tweet, make_files, write_zip):
        """A text that UTF-8 cannot hold becomes one that it can."""
        files = make_files([make_tweet(1, "half XYZ pair")], manifest=False)
        files["data/tweets.js"] = files["data/tweets.js"].replace("XYZ", "\\ud83d")
        (tweet,) = read_posts(write_zip(files))
        assert tweet.text.encode()

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"id_str": None, "id": "x1"}, "no id"),
            ({"full_text": 5}, "no text"),
            ({"full_text": None}, "no text"),
            ({"created_at": "yesterday"}, "no readable time"),
            ({"created_at": "Sat Fob 18 12:33:01 +0000 2023"}, "no readable time"),
            ({"created_at": 5}, "no readable time"),
        ],
    )
    def test_no_post(self, make_tweet, make_files, write_zip, change, what):
        """An entry that is no post is named by its file and number."""
        path = write_zip(make_files([make_tweet(1), make_tweet(2, **change)]))
        with pytest.raises(SourceError, match=rf"tweets\.js in archive\.zip has an entry that is no post \(number 2: {what}\)"):
            list(read_posts(path))


class TestEdits:
    @pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3)])
    def test_newest_version(self, make_tweet, make_files, write_zip, order):
        """Of a chain of edits the newest version is kept, whichever object names the chain."""
        ids = [make_tweet(n)["tweet"]["id"] for n in (1, 2, 3)]
        infos = {
            1: {"initial": {"editTweetIds": ids}},
            2: {"edit": {"initialTweetId": ids[0], "editControlInitial": {"editTweetIds": ids}}},
            3: {"edit": {"initialTweetId": ids[0]}},
        }
        tweets = [make_tweet(n, f"version {n}", edit_info=infos[n]) for n in order]
        texts = [tweet.text for tweet in read_posts(write_zip(make_files([make_tweet(9, "another"), *tweets])))]
        assert sorted(texts) == ["another", "version 3"]

    def test_newest_present(self, make_tweet, make_files, write_zip):
        """Where the newest version is not in the archive, the newest that is stays."""
        ids = [make_tweet(n)["tweet"]["id"] for n in (1, 2, 3)]
        tweets = [make_tweet(n, f"version {n}", edit_info={"initial": {"editTweetIds": ids}}) for n in (1, 2)]
        assert [tweet.text for tweet in read_posts(write_zip(make_files(tweets)))] == ["version 2"]

    @pytest.mark.parametrize(
        "info", [None, [], {"initial": []}, {"initial": {"editTweetIds": "5"}}, {"initial": {"editTweetIds": [None, {}]}}]
    )
    def test_odd_edit_info(self, make_tweet, make_files, write_zip, info):
        """Edit information of another shape costs no post."""
        assert len(list(read_posts(write_zip(make_files([make_tweet(n, edit_info=info) for n in (1, 2)]))))) == 2


class TestNotes:
    @pytest.mark.parametrize("stored", [LONG, _escaped(LONG)])
    @pytest.mark.parametrize("time", ["2023-02-18T12:33:01.000Z", "2023-02-18T12:33:02.000Z", "2023-02-18T12:33:00.100Z"])
    def test_join(self, make_tweet, make_files, write_zip, stored, time):
        """A cut post gets its whole text, escaped as the other texts are, whether or not the note was."""
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, "@bob " + _cut(LONG))], notes=[_note(stored, time)])))
        assert tweet.text == _escaped(LONG)
        assert clean(tweet.text) == clean(LONG)

    @pytest.mark.parametrize(
        "note", [_note(LONG, "2023-02-18T12:33:03.000Z"), _note("B" + LONG), _note(""), _note(LONG, "?"), {"noteTweet": 5}, 5]
    )
    def test_no_join(self, make_tweet, make_files, write_zip, note):
        """A note of another time, another text or another shape changes nothing."""
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, _cut(LONG))], notes=[note])))
        assert tweet.text == _cut(LONG)

    def test_links(self, make_tweet, make_files, write_zip):
        """Links of a note are cut out where they stand."""
        text = "長い話" * 80 + "https://t.co/abcdefghij続き"
        note = _note(text, urls=[{"shortUrl": "https://t.co/abcdefghij", "fromIndex": "240", "toIndex": "263"}])
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, text[:230] + "… https://t.co/x")], notes=[note])))
        assert tweet.text == "長い話" * 80 + " 続き"


class TestLinks:
    @pytest.mark.parametrize(
        ("text", "url", "expected"),
        [
            ("見て https://t.co/abcdefghij すごい", "https://t.co/abcdefghij", "見て  すごい"),
            ("見てhttps://t.co/abcdefghijすごいですね", "https://t.co/abcdefghij", "見て すごいですね"),
            ("https://t.co/abcdefghijすごい", "https://t.co/abcdefghij", "すごい"),
            ("😀&amp;😀 https://t.co/abcdefghij", "https://t.co/abcdefghij", "😀&amp;😀 "),
        ],
    )
    @pytest.mark.parametrize("group", ["entities", "extended_entities"])
    def test_cut(self, make_tweet, make_files, write_zip, text, url, expected, group):
        """A link goes by its place in code points of the escaped text, and takes no neighbour with it."""
        start = text.index(url)
        entity = {"url": url, "indices": [str(start), str(start + len(url))]}
        kind = "urls" if group == "entities" else "media"
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, text, **{group: {kind: [entity, entity]}})])))
        assert tweet.text == expected

    @pytest.mark.parametrize("indices", [["3", "26"], ["-5", "18"], ["5"], "5", None, ["a", "b"], ["9" * 30, "2"], [True, 28], ["5", {}]])
    def test_misplaced(self, make_tweet, make_files, write_zip, indices):
        """A place that does not fit leaves the text alone."""
        text = "see: https://t.co/abcdefghij ok"
        entities = {"urls": [{"url": "https://t.co/abcdefghij", "indices": indices}, 5], "media": "?"}
        (tweet,) = read_posts(write_zip(make_files([make_tweet(1, text, entities=entities, extended_entities=[])])))
        assert tweet.text == text


class TestManifest:
    @pytest.mark.parametrize("change", [-1, 1])
    def test_count(self, make_tweet, make_files, write_zip, change):
        """A file with fewer or more entries than the manifest counts makes the archive incomplete, and no post comes of it."""
        files = make_files([make_tweet(n) for n in range(3)])
        files["data/manifest.js"] = files["data/manifest.js"].replace('"count": "3"', f'"count": "{3 + change}"')
        with pytest.raises(SourceError, match=rf"archive\.zip is incomplete, for its manifest counts {3 + change} entries in tweets\.js"):
            next(read_posts(write_zip(files)))

    @pytest.mark.parametrize("gone", ["data/tweets-part1.js", "data/note-tweet.js"])
    def test_missing_file(self, make_tweet, make_files, write_zip, gone):
        """A listed file that is not there makes it incomplete too."""
        files = make_files([make_tweet(n) for n in range(4)], parts=2, notes=[_note(LONG)])
        del files[gone]
        with pytest.raises(SourceError, match=rf"incomplete, for its manifest lists {gone.removeprefix('data/')}"):
            list(read_posts(write_zip(files)))

    @pytest.mark.parametrize(
        "document", ["[]", "5", "{}", '{"dataTypes": {"tweets": {"files": [{"fileName": "data/tweets.js"}, 5]}, "x": 1}}']
    )
    def test_unknown_shape(self, make_tweet, make_files, write_zip, document):
        """A manifest of a shape not known here is not held against the archive."""
        files = make_files([make_tweet()]) | {"data/manifest.js": f"window.__THAR_CONFIG = {document}"}
        assert len(list(read_posts(write_zip(files)))) == 1

    def test_broken(self, make_tweet, make_files, write_zip):
        """A manifest that is no JSON is a sign of damage."""
        files = make_files([make_tweet()]) | {"data/manifest.js": "window.__THAR_CONFIG = {"}
        with pytest.raises(SourceError, match=r"manifest\.js in archive\.zip is cut short"):
            list(read_posts(write_zip(files)))
