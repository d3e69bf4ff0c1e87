"""What counts as a copy: the examples that set the rules, in scripts with spaces and without."""

# ruff: noqa: RUF001 - Japanese has signs of its own

import pytest

from data.copies import TrainingPosts

ENGLISH = "the fog came in at noon and took my neighbour's boat with it, without a word of thanks"
JAPANESE = "かわいい女の子に囲まれていると思ったら～、 臨死体験でした～。 チクショー！！ #まいにちチクショー"
RUN_ON = "今日は朝から駅前の喫茶店で長い手紙を書いていました。"
POSTS = TrainingPosts([ENGLISH, JAPANESE, RUN_ON, "too short to span"])


@pytest.mark.parametrize(
    "line",
    [
        ENGLISH,
        ENGLISH.upper(),
        f"  {ENGLISH}\n",
        ENGLISH.replace("noon", "night"),
        "he said: the fog came in at noon and took everything else that we had, too",  # eight words
        "he said: the fog came in at noon... and \u201ctook\u201d everything else that we had, too",
        "\uff54\uff48\uff45 fog, came \u2013 in at noon _and_ took everything else that we had, too",
        "the fog came \u2600\ufe0f in at no\u200bon and took my neighbour\u00b4s boat \u2764\ufe0f out",
        "it came back without my neighbour\u2019s boat: and took my neighbours boat with it, without a thing",
        "Too short to spam",
        JAPANESE,
        JAPANESE.replace("臨死", "仮死"),
        "空から駅前の喫茶店で長い手紙を書いていましたとさ",  # twenty-one characters
    ],
)
def test_a_copy(line):
    assert POSTS.copied_in(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "something she never wrote",
        "he said: the fog came in at noon and left, as it does when nobody looks at it",  # seven words
        "he said: the fog came in at noon and \u2764\ufe0f \u2764\ufe0f it left",  # seven, and what is no word
        "空を飛んだかと思ったら～、 ただの夢でした～。 チクショー！！ #まいにちチクショー",  # the formula alone
        "しかし駅前の喫茶店で長い手紙を書いていましたとさ",  # nineteen characters
        "。。。。。。。。。。。。。。。。。。。。。。。。。。。。",
    ],
)
def test_no_copy(line):
    assert not POSTS.copied_in(line)


def test_signs_alone_are_no_stretch():
    posts = TrainingPosts(["待って" + "！" * 30 + "本当に待ってください"])
    assert not posts.copied_in("急いで" + "！" * 30 + "早く走って逃げたほうがいい")


def test_a_long_latin_word_is_a_word_and_no_stretch():
    posts = TrainingPosts(["#MakeTheHarbourGreatAgain is what 猫 said"])
    assert not posts.copied_in("#MakeTheHarbourGreatAgain and nothing else from 犬 today")


def test_nothing_is_copied_from_nothing():
    assert not TrainingPosts([]).copied_in("anything at all")
