"""The operator's blocklist: what a line of it means, what it finds behind a disguise, and its file."""

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bot.errors import SettingsError
from bot.services.blocklist import BadRuleError, Blocklist, Found, Rules
from bot.services.doctor import examine, healthy
from bot.services.folding import Views
from bot.services.profanity import broken_by
from bot.services.speaking import Speaking
from bot.settings import Secrets


def found(rules, text):
    one = Rules(rules).broken_by(Views(text))
    return one and one.line


@pytest.mark.parametrize(
    "text",
    [
        "no spoiler here",
        "SPOILER!",
        "#spoiler",
        "a_spoiler_is",
        "s\u200dpoi\u200bler",
        "\u202espoiler",
        "\u0455\u0440\u043eiler",
        "\uff33\uff30\uff2f\uff29\uff2c\uff25\uff32",
        "sp01ler",
        "spóiler",
    ],
)
def test_a_word_is_found_behind_its_disguise(text):
    assert found("other\nspoiler", text) == 2


@pytest.mark.parametrize("text", ["spoilers", "unspoiler", "spoil er", "spo-iler", ""])
def test_a_word_is_a_whole_word(text):
    assert found("spoiler", text) is None


@pytest.mark.parametrize("text", ["the bad  thing", "BAD-THING", "bad, thing", "b\u0430d thing"])
def test_a_phrase_is_found_whatever_stands_between_its_words(text):
    assert found("bad thing", text) == 1
    assert found("bad thing", "bad other thing") is None


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("ネタバレ", "これはネタバレです"),
        ("ﾈﾀﾊﾞﾚ", "これはネタバレです"),
        ("剧透", "不要剧透我"),
        ("ตอนจบ", "อย่าบอกตอนจบนะ"),
        ("тайна", "ТАЙНА"),
        ("ТАЙНА", "тайна"),
        ("s&m", "S & M"),
        ("\U0001f595", "take this \U0001f595\U0001f3fd"),
        ("\u2764\ufe0f", "i \u2764 you"),
        ("/spo+iler[sz]?/", "SPOOOILERS"),
        ("/^first/", "first of all"),
        ("/caf\u00e9/", "CAF\u00c9"),
        ("/spoiler/", "\u0455\u0440\u043eiler"),
    ],
)
def test_every_script_sign_and_expression(rule, text):
    assert found(rule, text) == 1


@pytest.mark.parametrize(
    ("rule", "innocent"), [("a$$", "a lamp"), ("$hit", "we hit the sea"), ("$100", "100 goats"), ("big a$$", "a big a")]
)
def test_a_sign_in_a_rule_is_a_letter_or_itself_and_never_nothing(rule, innocent):
    assert found(rule, f"such {rule} there") == 1
    assert found(rule, innocent) is None
    assert len(Rules(rule)) == 1


def test_comments_and_empty_lines_are_no_rules():
    rules = Rules("# spoiler\n\n   \n  lamp  \n/\n//\n")
    assert rules.broken_by(Views("a spoiler")) is None
    assert rules.broken_by(Views("a lamp")) == Found(4)


@pytest.mark.parametrize("rule", ["/(/", "/[a/", "/*a/", "/(?P<n>a)(?P<n>/", "\u200b"])
def test_a_bad_line_is_named(rule):
    with pytest.raises(BadRuleError, match=r"^line 2 "):
        Rules(f"fine\n{rule}")


def test_an_expression_that_takes_too_long_refuses_and_is_given_up_soon():
    rules = Rules("/(a|aa)+$/")
    began = time.monotonic()
    assert rules.broken_by(Views("a" * 200 + "b")) == Found(1, timed_out=True)
    assert time.monotonic() - began < 2
    assert rules.broken_by(Views("aaaa")) == Found(1)


@given(st.text(), st.text())
def test_no_text_is_too_odd_for_a_list_or_a_line(rule, text):
    try:
        rules = Rules(rule)
    except BadRuleError:
        return
    rules.broken_by(Views(text))


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=10))
def test_a_word_finds_itself(word):
    assert found(word, f"so {word}!") == 1


class TestFile:
    def test_it_is_read_anew_when_it_changes_and_stays_when_it_cannot_be_read(self, tmp_path):
        path = tmp_path / "blocklist.txt"
        path.write_text("\ufefflamp", encoding="utf-8")  # as some editors save it
        blocklist = Blocklist(path)
        lamp, gull = Views("a lamp"), Views("a gull")
        assert blocklist.rules.broken_by(lamp)
        path.write_text("the gull\ngull")
        assert blocklist.rules.broken_by(lamp) is None
        assert blocklist.rules.broken_by(gull)
        for break_it in (lambda: path.write_text("/(/\n"), lambda: path.write_bytes(b"\xff\xfe\xfa"), path.unlink):
            break_it()
            with capture_logs() as logs:
                assert blocklist.rules.broken_by(gull)
                assert blocklist.rules.broken_by(gull)
            (entry,) = logs
            assert entry["log_level"] == "warning"
            assert "stays as it was" in entry["event"]
        path.write_text("lamp")
        assert blocklist.rules.broken_by(lamp)

    def test_a_change_within_the_same_second_and_of_the_same_length_is_seen(self, tmp_path):
        path = tmp_path / "blocklist.txt"
        path.write_text("lamp")
        blocklist = Blocklist(path)
        other = tmp_path / "other.txt"
        other.write_text("gull")
        status = path.stat()
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)
        assert blocklist.rules.broken_by(Views("gull"))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, r"cannot be read \(No such file"),
            (b"fine\n/(/\n", r"line 2 is no regular expression \(.+\): mend that line, or put a # before it\.$"),
            (b"fine\xff", r"is not UTF-8 text \(byte 4\): save it as UTF-8\.$"),
        ],
    )
    async def test_a_bad_file_is_one_sentence_at_the_start_and_in_the_doctor(self, settings, store, tmp_path, content, said):
        path = tmp_path / "blocklist.txt"
        if content is not None:
            path.write_bytes(content)
        bad = settings.model_copy(update={"safety": settings.safety.model_copy(update={"blocklist": path})})
        with pytest.raises(SettingsError, match=said):
            Speaking(store, bad, None)
        findings = examine(bad, Secrets())
        (finding,) = [finding for finding in findings if finding.name == "blocklist"]
        assert not finding.ok
        assert not healthy(findings)
        assert str(path) in finding.advice

    def test_without_a_file_nothing_is_blocked(self):
        assert Blocklist(None).rules.broken_by(Views("anything")) is None


class TestProfanity:
    @pytest.mark.parametrize(
        ("text", "mild", "none"),
        [
            ("what a lovely fucking day", False, True),
            ("what a lovely fu\u0441king day", False, True),
            ("que merda de dia", False, True),
            ("filho da puta!", False, True),
            ("クソ野郎め", False, True),
            ("you f\u200baggot", True, True),
            ("seu viado", True, True),
            ("このキチガイ", True, True),
            ("kill yourself", True, True),
        ],
    )
    def test_levels(self, text, mild, none):
        assert broken_by(Views(text), "any") is None
        assert bool(broken_by(Views(text), "mild")) == mild
        assert bool(broken_by(Views(text), "none")) == none

    @pytest.mark.parametrize(
        "text",
        [
            "class assassin Scunthorpe cocktail Dickens shiitake grass",
            "le train est en retard",
            "um ano negro, sem dinheiro",
            "pede pra sair",
            "パチンコとヒューマンコメディ",
            "ガチンコ勝負",
            "外国人のガイジンさん",
            "spick and span, a chin kept up",
        ],
    )
    def test_words_that_only_hold_one(self, text):
        assert broken_by(Views(text), "none") is None
