"""Every damaged, hostile or wrong file becomes one sentence that names it; nothing else ever comes out."""

import json
import os
import random
import stat
import struct
import time
import zipfile
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import SourceError
from data.readers import archive, container, entities, notes, plain, read_posts, stream
from data.readers.notes import Notes

START = "window.YTD.tweets.part0 = "


def _sentence(path):
    with pytest.raises(SourceError) as caught:
        list(read_posts(path))
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert ". " not in text.replace("YTD... ", "")
    assert len(text) < 400
    return text


class TestSentences:
    def test_distinct(self, make_tweet, make_files, write_zip, tmp_path):
        """Each kind of trouble has a sentence of its own that names the file."""
        good = make_files([make_tweet(n) for n in range(200)])
        whole = write_zip(good, name="f").read_bytes()
        encrypted = bytearray(whole)
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = -1
            while (place := encrypted.find(signature, place + 1)) >= 0:
                encrypted[place + offset] |= 1
        bomb = START + "[" + (json.dumps(make_tweet()) + ",") * 50_000
        cases = {
            "empty": b"",
            "foreign": write_zip({"notes/readme.md": "hello"}, name="x").read_bytes(),
            "truncated": whole[: len(whole) // 2],
            "encrypted": bytes(encrypted),
            "bomb": write_zip({"data/tweets.js": bomb}, name="x").read_bytes(),
            "shape": write_zip({"data/tweets.js": START + '{"tweet": {}}'}, name="x").read_bytes(),
            "json": write_zip({"data/tweets.js": START + json.dumps([make_tweet()])[:-9]}, name="x").read_bytes(),
            "latin": write_zip({"data/tweets.js": (START + '["caf\xe9"]').encode("latin-1")}, name="x").read_bytes(),
            "none": write_zip({"data/tweets.js": START + "[]"}, name="x").read_bytes(),
        }
        sentences = {"missing": _sentence(tmp_path / "f.zip.gone")}
        for name, content in cases.items():
            (tmp_path / "f.zip").write_bytes(content)
            sentences[name] = _sentence(tmp_path / "f.zip")
        assert len(set(sentences.values())) == len(cases) + 1
        assert all("f.zip" in sentence for sentence in sentences.values())
        for name, part in {
            "missing": "does not exist",
            "empty": "0 bytes",
            "foreign": "no tweets.js",
            "truncated": "not a whole zip",
            "encrypted": "is encrypted",
            "bomb": "unpacks to far more",
            "shape": "no list of posts",
            "json": "cut short or is not JSON",
            "latin": "not UTF-8",
            "none": "holds no posts",
        }.items():
            assert part in sentences[name]

    @pytest.mark.parametrize("name", ["a.pdf", "a.json", "noext", "tweets.js"])
    def test_unknown_kind(self, tmp_path, name):
        """A file of an unknown kind is told which kinds there are."""
        (tmp_path / name).write_bytes(b"\x00\x01")
        assert "X's archive" in _sentence(tmp_path / name)

    def test_odd_paths(self, tmp_path):
        """A pipe, a path with a NUL, an empty folder and a name of odd characters are sentences too."""
        os.mkfifo(tmp_path / "a.csv")
        assert "not a regular file" in _sentence(tmp_path / "a.csv")
        assert "does not exist" in _sentence(tmp_path / "a\0b")
        (tmp_path / "folder").mkdir()
        assert "no tweets.js" in _sentence(tmp_path / "folder")
        assert "a??b" in _sentence(tmp_path / "a\n\x1bb")
        assert _sentence(tmp_path / ("x" * 5000))

    def test_crc(self, make_tweet, make_files, write_zip):
        """One flipped bit inside a stored member is found by its checksum, and no post comes of it."""
        path = write_zip(make_files([make_tweet()], manifest=False))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
            file.writestr("data/tweets.js", START + json.dumps([make_tweet()]))
        path.write_bytes(path.read_bytes().replace(b"a post of some", b"a past of some"))
        assert "not a whole zip" in _sentence(path)

    def test_nameless_member(self, write_zip):
        """A member without a name, over which zipfile itself stumbles, is passed over."""
        path = write_zip({"x": "hello"})
        data = path.read_bytes().replace(b"x", b"\0")
        path.write_bytes(data)
        assert "no tweets.js" in _sentence(path)

    def test_other_method(self, tmp_path):
        """A method whose unpacking cannot be bounded is refused."""
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as file:
            file.writestr("data/tweets.js", START + "[]")
        assert "method" in _sentence(tmp_path / "a.zip")


class TestLimits:
    def test_lying_header(self, write_zip):
        """A bomb that states a large packed size is measured against the file itself."""
        path = write_zip({"data/tweets.js": START + " " * (40 << 20) + "[]"})
        data = bytearray(path.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 18), (b"PK\x01\x02", 20)):
            struct.pack_into("<I", data, data.find(signature) + offset, 0x7FFFFFFF)
        path.write_bytes(data)
        assert _sentence(path)

    def test_total(self, make_tweet, make_files, write_folder, monkeypatch):
        """All files together stay under one limit."""
        monkeypatch.setattr(container, "MAX_TOTAL", 5_000)
        assert "unpacks to more than" in _sentence(write_folder(make_files([make_tweet(n) for n in range(20)])))

    def test_posts(self, make_tweet, make_files, write_zip, monkeypatch):
        """The reader holds no more posts than it says."""
        monkeypatch.setattr(archive, "MAX_POSTS", 10)
        assert len(list(read_posts(write_zip(make_files([make_tweet(n) for n in range(10)]))))) == 10
        assert "more than 10 posts" in _sentence(write_zip(make_files([make_tweet(n) for n in range(11)])))

    @pytest.mark.parametrize(
        ("body", "part"),
        [
            ('["' + "a" * (stream.MAX_ELEMENT + (1 << 20)), "entry larger"),
            ('["' + '\\"' * (stream.MAX_ELEMENT // 2 + (1 << 20)), "entry larger"),
            ("[" * 1_000_000, "nested deeper"),
            ('[{"a":' * 500_000, "nested deeper"),
            ("[" + "9" * 5_000 + "]", "not JSON"),
            ("[1e99999999999999999999]", "not JSON"),
            ('["' + "[" * 5_000 + '"]', "no post"),
            ("[1e9999999]", "no post"),
        ],
        ids=["string", "escapes", "arrays", "objects", "digits", "exponent", "brackets in a string", "big number"],
    )
    def test_hostile_json(self, tmp_path, body, part):
        """Giant strings, deep nesting and giant numbers end in bounded time."""
        (tmp_path / "tweets.js").write_text(START + body)
        started = time.process_time()
        assert part in _sentence(tmp_path / "tweets.js")
        assert time.process_time() - started < 5

    def test_manifest(self, make_tweet, make_files, write_zip):
        """A manifest is small and shallow, or refused."""
        files = make_files([make_tweet()])
        for body in ("[" * 200_000, "5" * 5_000, '"' + "a" * (stream.MAX_DOCUMENT + 1) + '"'):
            assert "manifest.js" in _sentence(write_zip(files | {"data/manifest.js": "window.__THAR_CONFIG = " + body}))

    def test_no_prefix(self, write_zip):
        """A file without `=` is not read to its end in search of one."""
        assert "does not begin" in _sentence(write_zip({"tweets.js": "x" * 1_000_000}))
        assert "does not begin" in _sentence(write_zip({"tweets.js": "x"}))


class TestHostile:
    def test_paths_out_of_the_archive(self, make_tweet, write_zip, tmp_path):
        """Members are read and never unpacked, so their names lead nowhere."""
        body = START + json.dumps([make_tweet()])
        for name in ("../../data/tweets.js", "/etc/tweets.js", "..\\tweets.js", "C:\\tweets.js"):
            path = write_zip({name: body, "../../../evil.js": "x", "/tmp/evil": "x"})
            with suppress(SourceError):
                assert len(list(read_posts(path))) == 1
            assert [file.name for file in tmp_path.iterdir()] == ["archive.zip"]

    def test_a_link_in_a_zip(self, tmp_path):
        """A link is its target's name, which is no post."""
        (tmp_path / "secret.js").write_text(START + "[]")
        link = zipfile.ZipInfo("data/tweets.js")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            file.writestr(link, str(tmp_path / "secret.js"))
        assert "does not begin" in _sentence(tmp_path / "a.zip")

    @pytest.mark.parametrize("name", ["data", "data/tweets.js"])
    def test_a_link_in_a_folder(self, make_tweet, make_files, write_folder, tmp_path, name):
        """A link in an unpacked archive is not followed to what lies elsewhere."""
        whole = write_folder(make_files([make_tweet()]))
        evil = tmp_path / "evil"
        (evil / name).parent.mkdir(parents=True)
        (evil / name).symlink_to(whole / name)
        assert "no tweets.js" in _sentence(evil)
        assert list(read_posts(whole))

    def test_a_loop_of_links(self, make_tweet, make_files, write_folder):
        """A folder that links to itself ends."""
        whole = write_folder(make_files([make_tweet()]))
        (whole / "data" / "data").symlink_to(whole)
        assert len(list(read_posts(whole))) == 1

    def test_members_without_end(self, write_zip, monkeypatch):
        """The list of members, which zipfile reads whole, has a bound."""
        path = write_zip({f"{n}": "" for n in range(2_000)})
        assert "no tweets.js" in _sentence(path)
        monkeypatch.setattr(container, "MAX_DIRECTORY", 50_000)
        assert "lists more files than" in _sentence(path)

    def test_more_text_than_memory(self, make_tweet, make_files, write_zip, monkeypatch):
        """What is kept of posts and notes together is bounded; one post is no longer than posts are."""
        monkeypatch.setattr(container, "MAX_KEPT", 1_000)
        assert len(list(read_posts(write_zip(make_files([make_tweet(n, "x" * 90) for n in range(11)]))))) == 11
        assert "more text than" in _sentence(write_zip(make_files([make_tweet(n, "x" * 90) for n in range(12)])))
        note = {"noteTweet": {"createdAt": "2023-02-18T12:33:00.000Z", "core": {"text": "x" * 990}}}
        assert "more text than" in _sentence(write_zip(make_files([make_tweet()], notes=[note])))
        assert "longer than any post" in _sentence(write_zip(make_files([make_tweet(1, "x" * 100_001)])))

    @pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
    def test_more_text_in_a_plain_file(self, tmp_path, monkeypatch, name):
        monkeypatch.setattr(container, "MAX_KEPT", 1_000)
        row = '{{"text": "{}"}}' if name == "a.jsonl" else "{}"
        head = "text\n" * (name == "a.csv")
        (tmp_path / name).write_text(head + "\n".join(row.format(f"{n:02}" + "x" * 98) for n in range(10)))
        assert len(list(read_posts(tmp_path / name))) == 10
        (tmp_path / name).write_text(head + "\n".join(row.format(f"{n:02}" + "x" * 98) for n in range(11)))
        assert "more text than" in _sentence(tmp_path / name)

    @pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
    def test_more_posts_than_memory(self, tmp_path, monkeypatch, name):
        """A plain file of two bytes a post has no more of them than an archive may."""
        monkeypatch.setattr(plain, "MAX_POSTS", 10)
        row = {"a.txt": "a{}", "a.jsonl": '{{"text": "a{}"}}', "a.csv": "a{}"}[name]
        head = "text\n" * (name == "a.csv")
        (tmp_path / name).write_text(head + "\n".join(row.format(n) for n in range(10)))
        assert len(list(read_posts(tmp_path / name))) == 10
        (tmp_path / name).write_text(head + "\n".join(row.format(n) for n in range(11)))
        assert "more than 10 posts" in _sentence(tmp_path / name)

    def test_what_grows_with_a_square(self, make_tweet, make_files, write_zip):
        """Notes of one second, links of one post and files of a manifest are compared with each other, but never too many."""
        note = {"noteTweet": {"createdAt": "2023-02-18T12:33:00.000Z", "core": {"text": "a long post"}}}
        kept = Notes()
        assert sum(kept.add(note) > 0 for _ in range(500)) == notes.MAX_A_SECOND
        links = [{"url": "a", "indices": [str(n), str(n + 1)]} for n in range(5_000)]
        assert len(list(entities.tweet_links({"entities": {"urls": links, "media": links}}))) == 2 * entities.MAX_LINKS
        listed = {"dataTypes": {"tweets": {"files": [{"fileName": f"tweets-part{n}.js", "count": "1"} for n in range(3_000)]}}}
        files = {f"data/tweets-part{n}.js": START + json.dumps([make_tweet(n)]) for n in range(3_000)}
        path = write_zip(files | {"data/manifest.js": "window.__THAR_CONFIG = " + json.dumps(listed)})
        began = time.process_time()
        assert len(list(read_posts(path))) == 3_000
        assert time.process_time() - began < 10


NAMES = st.sampled_from(["a.jsonl", "a.ndjson", "a.csv", "a.txt", "a.zip", "tweets.js", "a", "A.CSV"])
PIECES = st.sampled_from(
    [
        b"text,id,created_at\n",
        b"text;id\n",
        b'"',
        b",",
        b"\n",
        b"\r",
        b"\xef\xbb\xbf",
        b'{"text":',
        b'"a"',
        b"}",
        b"[",
        b"]",
        b"=",
        b"PK\x03\x04",
        START.encode(),
        b'{"tweet":{"id":"1","full_text":"\\ud800"',
        b'"created_at":',
        b"2014-01-31",
        b"9" * 50,
        b"null",
        b"\x00",
        b"\xff",
        b"id",
    ]
)
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _harmless(path):
    try:
        for tweet in read_posts(path):
            tweet.text.encode()
            tweet.id.encode()
    except SourceError as error:
        assert str(error).isprintable()  # noqa: PT017


class TestFuzz:
    @FUZZ
    @given(name=NAMES, content=st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=20).map(b"".join)))
    def test_bytes(self, tmp_path, name, content):
        """Any bytes under any name give posts or a SourceError."""
        path = tmp_path / name
        path.write_bytes(content)
        _harmless(path)

    @FUZZ
    @given(
        element=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
        field=st.sampled_from(
            ["id", "id_str", "full_text", "created_at", "entities", "extended_entities", "edit_info", "is_retweet", "is_reply"]
        ),
    )
    def test_fields(self, make_tweet, tmp_path, element, field):
        """Any JSON in any field of a post too."""
        tweet = make_tweet()
        tweet["tweet"][field] = element
        (tmp_path / "tweets.js").write_text(START + json.dumps([tweet, element], allow_nan=False) if _finite(element) else START)
        _harmless(tmp_path / "tweets.js")
        (tmp_path / "a.jsonl").write_text(json.dumps(tweet["tweet"]) + "\n" + json.dumps(element))
        _harmless(tmp_path / "a.jsonl")

    def test_mutated_zips(self, make_tweet, make_files, write_zip):
        """A zip with bytes changed, cut out or put in, at 600 places drawn by a fixed seed."""
        path = write_zip(make_files([make_tweet(n) for n in range(3)], notes=[]))
        whole = path.read_bytes()
        draw = random.Random(7)
        for _ in range(600):
            data = bytearray(whole)
            for _ in range(draw.randint(1, 4)):
                # Half of the changes fall into the central directory, which steers all the rest.
                place = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(max(0, len(data) - 700), len(data))
                match draw.randrange(3):
                    case 0:
                        data[place] = draw.randrange(256)
                    case 1:
                        del data[place : place + draw.randint(1, 30)]
                    case _:
                        data[place:place] = draw.randbytes(draw.randint(1, 30))
            path.write_bytes(data)
            _harmless(path)


def _finite(element):
    try:
        json.dumps(element, allow_nan=False)
    except ValueError:
        return False
    return True
