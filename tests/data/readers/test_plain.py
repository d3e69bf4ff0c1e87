"""JSON lines, CSV and text files."""

import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import SourceError
from data.readers import plain, read_posts
from data.readers.fields import parse_time, storable

NOON = datetime(2023, 2, 18, 12, 0, tzinfo=UTC)


def _read(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_posts(path))


def _refused(tmp_path, name, content):
    with pytest.raises(SourceError) as caught:
        _read(tmp_path, name, content)
    return str(caught.value)


class TestJsonl:
    def test_fields(self, tmp_path):
        """All fields are taken; `full_text` and `id_str` stand in for `text` and `id`."""
        rows = [
            {"id": 5, "created_at": "2023-02-18T12:00:00Z", "text": "a", "is_retweet": True, "is_reply": None},
            {"id_str": "6", "created_at": "Sat Feb 18 12:00:00 +0000 2023", "full_text": "RT @bob: b", "is_reply": True},
            {"text": "RT @bob: c", "is_retweet": False, "is_reply": False},
        ]
        first, second, third = _read(tmp_path, "a.jsonl", "\ufeff" + "\r\n\n".join(map(json.dumps, rows)))
        assert (first.id, first.created_at, first.text, first.is_retweet, first.is_reply) == ("5", NOON, "a", True, None)
        assert (second.id, second.created_at, second.text, second.is_retweet, second.is_reply) == ("6", NOON, "RT @bob: b", True, True)
        assert (third.created_at, third.is_retweet, third.is_reply) == (None, False, False)
        assert third.id.startswith("sha256:")

    @pytest.mark.parametrize("name", ["in_reply_to", "in_reply_to_status_id", "in_reply_to_status_id_str"])
    @pytest.mark.parametrize(
        ("value", "parent"),
        [
            ("768467755339223040", "768467755339223040"),
            (12, "12"),
            (" p1 ", "p1"),
            *((value, None) for value in (None, "", " ", True, 7.68e17, [], {"id": 5}, 10**30, "x" * 300)),
            *((value, None) for value in ("nan", "None", "768467755339223040.0", "7.68467755339223e+17")),
        ],
    )
    def test_parent(self, tmp_path, name, value, parent):
        """Whatever else stands in these fields is no parent, and no reason to refuse a file that was read before."""
        (tweet,) = _read(tmp_path, "a.jsonl", json.dumps({"text": "a b c", name: value}))
        assert tweet.in_reply_to == parent

    def test_made_up_ids(self, tmp_path):
        """Equal rows without ids stay so many posts, and reading the file again gives the same ids."""
        content = '{"text": "gm"}\n' * 3 + '{"text": "gn"}\n'
        tweets = _read(tmp_path, "a.ndjson", content)
        assert len({tweet.id for tweet in tweets}) == 4
        assert _read(tmp_path, "a.ndjson", content) == tweets

    def test_repeated_id(self, tmp_path):
        """An id that comes twice is one post."""
        assert [tweet.text for tweet in _read(tmp_path, "a.jsonl", '{"id": 1, "text": "a"}\n{"id": "1", "text": "b"}')] == ["a"]

    @pytest.mark.parametrize(
        ("line", "part"),
        [
            ("{", "is not JSON"),
            ("[" * 100_000, "is not JSON"),
            ("9" * 5_000, "is not JSON"),
            ("[]", "is not a JSON object"),
            ("{}", "has no `text`"),
            ('{"text": null}', "has no `text`"),
            ('{"text": "a", "created_at": "soon"}', "`created_at`"),
            ('{"text": "a", "created_at": "0001-01-01T00:00:00+05:00"}', "`created_at`"),
            ('{"text": "a", "created_at": 5}', "`created_at`"),
            ('{"text": "a", "id": [1]}', "`id`"),
            ('{"text": "a", "id": true}', "`id`"),
            ('{"text": "a", "id": "' + "x" * 300 + '"}', "`id`"),
            ('{"text": "a' + "a" * plain.MAX_LINE, "longer than"),
        ],
    )
    def test_bad_line(self, tmp_path, line, part):
        """A bad line is named by its number, and the posts before it have been read."""
        path = tmp_path / "a.jsonl"
        path.write_text('{"text": "fine"}\n\n' + line + "\n")
        posts = read_posts(path)
        assert next(posts).text == "fine"
        with pytest.raises(SourceError, match=r"a\.jsonl line 3 ") as caught:
            next(posts)
        assert part in str(caught.value)

    def test_streams(self, tmp_path):
        """Thirty megabytes pass through in little memory."""
        path = tmp_path / "a.jsonl"
        path.write_text("".join(json.dumps({"id": n, "text": "word " * 2_000}) + "\n" for n in range(3_000)))
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_posts(path)) == 3_000
            assert tracemalloc.get_traced_memory()[1] < 3_000_000
        finally:
            tracemalloc.stop()


class TestCsv:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    @pytest.mark.parametrize("column", ["text", "full_text", "Tweet", " CONTENT "])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_dialects(self, tmp_path, delimiter, column, mark):
        """Comma, semicolon or tab, any of four columns, quotes and line ends inside a field."""
        header = delimiter.join(["id", column, "created_at", "is_retweet", "likes"])
        row = delimiter.join(["7", f'"say ""hi""{delimiter} all\nof you"', "2023-02-18 12:00:00", "False", "3"])
        (tweet,) = _read(tmp_path, "a.csv", f"{mark}{header}\r\n\r\n{row}\r\n")
        assert (tweet.id, tweet.text, tweet.created_at, tweet.is_retweet) == ("7", f'say "hi"{delimiter} all\nof you', NOON, False)

    def test_optional(self, tmp_path):
        """Empty fields are absent ones, and an id that a spreadsheet shortened is no id."""
        content = "id,text,created_at,is_reply\n1.23E+18,a b,,yes\n1.23E+18,RT @bob: c,,\n,\n"
        first, second = _read(tmp_path, "a.csv", content)
        assert first.id != second.id
        assert (first.created_at, first.is_retweet, first.is_reply) == (None, False, True)
        assert (second.is_retweet, second.is_reply) == (True, None)

    def test_parent(self, tmp_path):
        """The post answered is a column as any other."""
        content = "id,text,In_Reply_To\n1,a b c,\n2,d e f,1\n3,g h i,1.0\n"
        assert [tweet.in_reply_to for tweet in _read(tmp_path, "a.csv", content)] == [None, "1", None]

    @pytest.mark.parametrize(
        ("content", "part"),
        [
            ("1,hello\n2,world\n", "line 1 is no header"),
            ("\n\n", "line 1 is no header"),
            ("id,text\n1,a\n2,b,c\n", "line 3 has more fields"),
            ("id,text\n1\n", "line 2 has no field text"),
            ('id,text\n1,"a\nb\n', "quoted field that does not end"),
            ("text,created_at\na,31/12/2020\n", "line 2 has a `created_at`"),
            ("text\n", "holds no posts"),
            ("text\na\0b\n", "line 2 is not text in UTF-8"),
        ],
    )
    def test_bad(self, tmp_path, content, part):
        """A table that does not fit is named by the line."""
        assert part in _refused(tmp_path, "a.csv", content)

    def test_large_field(self, tmp_path):
        """A field may be far larger than the csv module's own limit."""
        (tweet,) = _read(tmp_path, "a.csv", "text\n" + "a" * 1_000_000 + "\n")
        assert len(tweet.text) == 1_000_000


class TestTxt:
    def test_lines(self, tmp_path):
        """Each line that is not blank is a post."""
        tweets = _read(tmp_path, "a.txt", "\ufeffone\r\n\n  \n  two 日本\nRT @bob: three")
        assert [tweet.text for tweet in tweets] == ["one", "two 日本", "RT @bob: three"]
        assert [tweet.is_retweet for tweet in tweets] == [False, False, True]

    @pytest.mark.parametrize("content", [b"caf\xe9\n", "text".encode("utf-16"), "text".encode("utf-16-le")])
    def test_not_utf8(self, tmp_path, content):
        """Another encoding is refused, not guessed."""
        assert "a.txt line 1 is not text in UTF-8" in _refused(tmp_path, "a.txt", content)

    def test_blank(self, tmp_path):
        """A file of blank lines holds no posts."""
        assert "holds no posts" in _refused(tmp_path, "a.txt", "\n \n")


class TestFields:
    @pytest.mark.parametrize(
        "text", ["2023-02-18T12:00:00Z", "2023-02-18 12:00:00 +0000", "2023-02-18 12:00:00 UTC", "2023-02-18T14:00:00+02:00"]
    )
    def test_time(self, text):
        """The common forms of one time are one time, in UTC."""
        assert parse_time(text) == NOON
        assert parse_time(text).tzinfo is UTC

    @given(st.text(alphabet=st.characters(exclude_categories=())))
    def test_storable(self, text):
        """What is stored can be written as UTF-8, and stays as it was where it could."""
        fixed = storable(text)
        assert len(fixed.encode()) >= 0
        if all(not 0xD800 <= ord(char) <= 0xDFFF for char in text):
            assert fixed == text
