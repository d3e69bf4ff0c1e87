"""The ancestor's cleaning, restated naively, and both rules of what is short."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.cleaning import clean, is_short, without_controls

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))
# What the passes turn on, so that hypothesis finds their corners.
LINKS = st.lists(st.sampled_from(["http:", "https:", "HTTP:", "ht", "tp:", "//a", " ", "\n", "\u3000", "x", "&amp;", "amp;", "&lt;"])).map(
    "".join
)


def naive_clean(text):
    """facts/huggingtweets.md 1.2, pass by pass."""
    for entity, char in (("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, char)
    for start in ("http:", "https:"):
        for pattern in (f" {start}\\S+", f"{start}\\S+ ", f"\n{start}\\S+ ", f"\n{start}\\S+", f"{start}\\S+"):
            text = re.sub(pattern, "", text)
    text = re.sub(" +", " ", text)
    return " ".join(text.split()).strip()


def naive_is_short(cleaned):
    """facts/huggingtweets.md 1.3."""
    return sum(all(part not in word.lower() for part in ("http", "@", "#")) for word in cleaned.split()) < 3


@pytest.mark.parametrize(
    ("text", "cleaned", "short"),
    [
        ("@bob thanks", "@bob thanks", True),
        ("@bob thanks so much", "@bob thanks so much", False),
        ("go go go", "go go go", False),
        ("look https://t.co/abc", "look", True),
        ("x:https://t.co/aa and more words", "x:and more words", False),
        ("AT&amp;amp;T is big", "AT&amp;T is big", False),
        ("&quot;hi there you&quot;", "&quot;hi there you&quot;", False),
        ("see HTTPS://T.CO/A now ok", "see HTTPS://T.CO/A now ok", False),
        ("日本語のツイートです", "日本語のツイートです", True),
        ("RT @bob: hello dear world", "RT @bob: hello dear world", False),
    ],
)
def test_table_of_the_facts(text, cleaned, short):
    """Every row of the table in facts/huggingtweets.md 1.3."""
    assert clean(text) == cleaned
    assert is_short(cleaned, "huggingtweets") is short


class TestClean:
    @given(st.one_of(ANY_TEXT, LINKS))
    def test_equals_the_restatement(self, text):
        """It is the ancestor's, character for character."""
        assert clean(text) == naive_clean(text)

    def test_long_runs(self):
        """A megabyte of links without a space takes no quadratic time."""
        assert clean("http:" * 200_000) == ""
        assert clean("a http:" * 200_000) == "a http:"


class TestHuggingtweetsRule:
    @given(st.one_of(ANY_TEXT, LINKS))
    def test_equals_the_restatement(self, text):
        """It is the ancestor's."""
        assert is_short(text, "huggingtweets") is naive_is_short(text)


class TestDefaultRule:
    @given(st.text(alphabet=st.characters(max_codepoint=0x0DFF, exclude_categories=("Cs",))) | LINKS)
    def test_spaced_scripts(self, text):
        """Where no script without spaces occurs it is the ancestor's."""
        assert is_short(text, "default") is naive_is_short(text)

    @given(st.lists(st.sampled_from("あ漢ก๑ລမក #@hx1。、한_")).map("".join) | ANY_TEXT)
    def test_keeps_more(self, text):
        """What the ancestor keeps, it keeps."""
        assert naive_is_short(text) or not is_short(text, "default")

    @pytest.mark.parametrize(
        ("text", "short"),
        [
            ("日本語のツイートです", False),
            ("おはよう", True),
            ("おはよう。。。。、、、", True),
            ("我 爱 你", False),
            ("我爱你", True),
            ("今天天气真的很好", False),
            ("#今天天气真的很好", True),
            ("今天天气真的很好#天气", False),
            ("@bob 今天天气真的很好", False),
            ("アカウントは、@dayukoumeです", False),
            ("#สวัสดีครับทุกคนวันนี้", True),
            ("สวัสดี", True),
            ("วันนี้อากาศดีมากเลยนะครับ", False),
            ("ມື້ນີ້ອາກາດດີຫຼາຍເດີ້ທຸກຄົນ", False),
            ("ថ្ងៃនេះអាកាសធាតុល្អណាស់មែនទេ", False),
            ("ဒီနေ့ရာသီဥတုအရမ်းကောင်းတယ်နော်", False),
            ("오늘 날씨가 좋다", False),
            ("안녕하세요여러분", True),
            ("๑๒๓ ๔ ๕", False),
            ("", True),
        ],
    )
    def test_scripts(self, text, short):
        """Sentences stay and single words go, in the scripts without spaces too; Korean has spaces."""
        assert is_short(text, "default") is short


class TestWithoutControls:
    @given(st.one_of(ANY_TEXT, LINKS))
    def test_nothing_left(self, text):
        """No control character or lone surrogate is left, spaces are single, and a text without them stays, if there is one to see."""
        cleaned = clean(text)
        out = without_controls(cleaned)
        assert out.encode().decode() == out
        assert not re.search(r"[\x00-\x1f\x7f-\x9f]", out)
        assert out == " ".join(out.split())
        if not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", cleaned):
            seen = any(unicodedata.category(char) not in {"Cf", "Mn", "Zs", "Cn"} for char in cleaned)
            assert out == cleaned or (not out and not seen)

    @pytest.mark.parametrize("text", ["\u200b \u200e \u2060", "\ufeff", "\x07\u200d\x07", "\u202e\u202c", "\u00ad \ufe0f"])
    def test_nothing_to_see(self, text):
        """What is made of joiners and marks of direction alone is no text."""
        assert not without_controls(clean(text))

    def test_emoji_stay(self):
        """Joiners, variation selectors and zero-width spaces are no control characters: emoji and Khmer need them."""
        assert without_controls("👩\u200d👧 ❤\ufe0f ក\u200bខ") == "👩\u200d👧 ❤\ufe0f ក\u200bខ"
