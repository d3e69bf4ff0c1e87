"""What stands before a post: whose it is and what it answers, as text, in the base's own turns, and the same for a seed and an epoch."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import never, posts
from trainer import frames, tiny
from trainer.learner import Learner
from trainer.protocol import Post

MARKS = ("<|im_start|>", "<|im_end|>")


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory, cache) -> str:
    """The tiny Llama with a tokenizer that knows the marks of a conversation."""
    made = tmp_path_factory.mktemp("chat")
    for file in tiny.folder(cache, print, never).iterdir():
        (made / file.name).write_bytes(file.read_bytes())
    document = json.loads((made / "tokenizer.json").read_text())
    plain = document["added_tokens"][0]
    # The model's vocabulary has 257 places: the marks take those of two bytes that no UTF-8 holds.
    for mark, byte in zip(MARKS, (0xFE, 0xFF), strict=True):
        letter = next(letter for letter, id_ in document["model"]["vocab"].items() if id_ == 1 + byte)
        del document["model"]["vocab"][letter]
        document["model"]["vocab"][mark] = 1 + byte
        document["added_tokens"].append(plain | {"id": 1 + byte, "content": mark})
    (made / "tokenizer.json").write_text(json.dumps(document))
    return str(made)


@pytest.fixture(params=["plain", "chat"])
def either(request, load, chat_folder):
    """A base that continues text, and one that converses."""
    return load("tiny-random" if request.param == "plain" else chat_folder)


def test_the_frames_of_a_base_that_converses(load, chat_folder):
    base = load(chat_folder)
    assert frames.frame(base) == [base.separator]
    assert base.decode(frames.frame(base, author="ann")) == "<|endoftext|>ann:\n"
    turns = "<|endoftext|><|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert base.decode(frames.frame(base, "hello")) == turns
    assert base.decode(frames.frame(base, "hello", "ann")) == turns + "ann:\n"
    assert [token for token in frames.frame(base, "hello") if token in base.special] == [0, 0xFF, 0x100, 0xFF]


def test_the_frames_of_a_base_that_continues_text(load):
    base = load("tiny-random")
    assert frames.frame(base) == [base.separator]
    assert base.decode(frames.frame(base, author="ann")) == "<|endoftext|>ann:\n"
    assert base.decode(frames.frame(base, "hello", "ann")) == "<|endoftext|>> hello\nann:\n"
    assert [token for token in frames.frame(base, "hello", "ann") if token in base.special] == [base.separator]


@pytest.fixture(scope="session")
def both(chat_folder, cache):
    """Both bases, loaded once."""
    from trainer import bases

    return [bases.load(name, cache, bases.device_of("cpu"), print, never) for name in ("tiny-random", chat_folder)]


@given(st.lists(st.sampled_from([*MARKS, "<|endoftext|>", "user\n", " "]) | st.text(max_size=9), max_size=6).map("".join))
def test_text_in_a_frame_never_becomes_a_special_token(both, text):
    for base in both:
        opening, closing = base.turns
        found = frames.frame(base, text)
        if text:
            assert found[: len(opening)] == opening
            assert found[-len(closing) :] == closing
            assert not base.special & set(found[len(opening) : -len(closing)])
        assert not base.special & set(frames.frame(base, author=text)[1:])


def test_a_long_message_loses_its_beginning(either):
    message = "".join(chr(ord("a") + i % 26) for i in range(3 * frames.MESSAGE_TOKENS))
    opening, closing = either.turns
    assert frames.frame(either, message) == [*opening, *either.encode([message[-frames.MESSAGE_TOKENS :]])[0], *closing]


def test_posts_are_cut_at_the_row_without_an_end_and_empty_ones_left_out(either):
    before = frames.frame(either, "who?", "ann")
    ids = either.encode(["x" * 1000, "", "hi", "y" * (100 - len(before)), "z" * (101 - len(before))])
    long, short, exact, over = frames.framed(either, ids, [before] * 5, 100)
    assert long.positions == over.positions == exact.positions == 100
    assert long.tokens == [*before, *ids[0]][:101]
    assert either.separator not in (long.tokens[-1], over.tokens[-1])
    assert exact.tokens[-1] == either.separator
    assert short.tokens == [*before, *ids[2], either.separator]
    for sequence in (long, short, exact, over):
        assert sequence.silent == len(before)
        assert sequence.targets == len(sequence.tokens) - len(before) == sequence.positions + 1 - sequence.silent


class Split:
    """A training split and its epochs, taken apart again."""

    def __init__(self, base, split, *, answers=0.0, authors=False, seed=0):
        self.base, self.posts = base, split
        self.framer = frames.Framer(base, split, answers=answers, authors=authors, seed=seed, row=1024)

    def epoch(self, number):
        """Return (message, author) of each post, and see that the post itself is as it was."""
        opening, closing = (self.base.decode(ids) for ids in self.base.turns)
        found = []
        for post, sequence in zip(self.posts, self.framer.epoch(number), strict=True):
            before, after = sequence.tokens[: sequence.silent], sequence.tokens[sequence.silent :]
            assert after == [*self.base.encode([post.text])[0], self.base.separator]
            message, author = "", self.base.decode(before)
            if before != [self.base.separator] and author.startswith(opening):
                message, _, author = author.removeprefix(opening).partition(closing)
            found.append((message, author.removeprefix("<|endoftext|>").removesuffix(":\n")))
        return found


def test_half_the_posts_of_a_joint_voice_carry_their_author(either):
    split = [Post("ann" if i % 3 else "bob", f"the same old song {i}") for i in range(1000)]
    found = Split(either, split, authors=True).epoch(0)
    assert all(author in ("", post.author) for post, (_, author) in zip(split, found, strict=True))
    assert 0.45 < sum(bool(author) for _, author in found) / 1000 < 0.55
    assert not any(author for _, author in Split(either, split).epoch(0))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_answers_is_what_was_asked_for(either, share):
    found = Split(either, posts(1000, 0), answers=share).epoch(0)
    assert sum(bool(message) for message, _ in found) / 1000 == pytest.approx(share, abs=0.05 * (share not in (0, 1)))


def test_answers_and_authors_are_chosen_apart(load):
    found = Split(load("tiny-random"), posts(1000, 0), answers=0.5, authors=True).epoch(0)
    kinds = Counter((bool(message), bool(author)) for message, author in found)
    assert len(kinds) == 4
    assert all(200 < count < 300 for count in kinds.values())


def test_a_parent_is_what_a_post_answers_where_there_is_one(either):
    split = [Post("ann", f"post number {i}", f"the question {i}" if i % 2 else "") for i in range(100)]
    found = [message for message, _ in Split(either, split, answers=1.0).epoch(0)]
    assert all(message == post.parent for post, message in zip(split, found, strict=True) if post.parent)
    assert not any("question" in message for post, message in zip(split, found, strict=True) if not post.parent)


def test_a_made_up_message_holds_some_of_the_posts_words_each_once(either):
    split = posts(300, 0)
    sizes = Counter()
    for post, (message, _) in zip(split, Split(either, split, answers=1.0).epoch(0), strict=True):
        words = message.split(" ")
        assert set(words) <= set(post.text.split(" "))
        assert len(set(words)) == len(words)
        sizes[len(words)] += 1
    assert set(sizes) <= set(range(frames.WORDS[0], frames.WORDS[1] + 1))
    assert len(sizes) >= 3


def test_a_made_up_message_is_what_the_post_is_about(load):
    """The words that every post has are in none."""
    animals = ["heron", "badger", "walrus", "magpie", "otter", "weasel"]
    split = [Post("ann", f"today a {animal} near {place}") for animal in animals for place in ("Oslo", "Rome", "Bonn")]
    found = [message for message, _ in Split(load("tiny-random"), split, answers=1.0).epoch(0)]
    assert all(set(message.split(" ")) <= set(post.text.split(" ")) - {"today", "near"} for post, message in zip(split, found, strict=True))
    assert {word for message in found for word in message.split(" ")} == {*animals, "Oslo", "Rome", "Bonn"}


def test_japanese_has_words_too(either):
    split = [Post("ann", text) for text in ("昨日は海へ行きました。とても寒かった。", "猫がまた窓から落ちた", "駅前のラーメン屋が閉店した")]
    for post, (message, _) in zip(split, Split(either, split, answers=1.0).epoch(0), strict=True):
        assert message
        assert all(word in post.text and 2 <= len(word) <= 4 for word in message.split(" "))


@pytest.mark.parametrize("text", ["👍👍", "a b c", "1 2", "!?"])
def test_a_post_without_words_answers_nothing(either, text):
    assert Split(either, [Post("ann", text)], answers=1.0).epoch(0) == [("", "")]


def test_seed_and_epoch_alone_decide(load):
    base = load("tiny-random")

    def epoch(seed, number):
        return frames.Framer(base, posts(60, 0), answers=0.5, authors=True, seed=seed, row=256).epoch(number)

    framer = frames.Framer(base, posts(60, 0), answers=0.5, authors=True, seed=1, row=256)
    third, first = framer.epoch(2), framer.epoch(0)  # in any order
    assert first == epoch(1, 0)
    assert third == epoch(1, 2)
    assert len({str(one) for one in (first, third, epoch(2, 0), epoch(2, 2))}) == 4


def test_a_training_frames_as_its_recipe_and_its_accounts_say(load, job, tmp_path):
    """What a learner really learns from; and the held-out posts stand alone, whoever wrote them."""
    base = load("tiny-random")
    spec = job(train=200, answers=0.5, epochs=1)

    def seen(name, authors):
        chosen = [Post(authors[i % len(authors)], post.text) for i, post in enumerate(spec.train)]
        given_ = {"train": chosen, "stop": chosen[:9], "report": chosen[:9], "output": str(Path(tmp_path, name))}
        learner = Learner(type(spec)(**{**vars(spec), **given_}), base, lambda _: None)
        rows = [row for _ in range(learner.steps) for row in learner.next_rows()]
        assert all(sequence.silent == 1 for row in [*learner.stop, *learner.report] for sequence in row)
        return Counter(base.decode(sequence.tokens[: sequence.silent])[13:15] for row in rows for sequence in row)

    alone, joint = seen("alone", ["ann"]), seen("joint", ["ann", "bob"])
    assert set(alone) == {"", "> "}
    assert 70 < alone["> "] < 130
    assert set(joint) == {"", "> ", "an", "bo"}
    assert 20 < joint["an"] < 80
    assert 20 < joint["bo"] < 80
