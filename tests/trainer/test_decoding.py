"""Drawn lines follow the rules of their sampling, and each row its own chance."""

import random

import pytest
import torch

from tests.trainer.conftest import never
from trainer import bases, decoding, fast, frames, lora
from trainer import lines as lines_module
from trainer.decoding import Batch
from trainer.errors import BadWeights, Cancelled
from trainer.kv import STEP
from trainer.lines import Speech, Voice
from trainer.mixing import Mixed, mixing
from trainer.protocol import Sampling


def lines(base, prompt="", count=4, seed=0, check=never, *, message="", author="", **sampling):
    """Draw and put in order."""
    settings = Sampling(**({"max_tokens": 40} | sampling))
    drawn = decoding.draw(base, prompt, count, seed, settings, check, message=message, author=author)
    return sorted(drawn, key=lambda line: line.index)


def test_line_i_depends_on_seed_and_i_alone(base):
    ten = lines(base, "a", count=10, seed=5)
    assert [line.text for line in lines(base, "a", count=3, seed=5)] == [line.text for line in ten[:3]]
    assert [line.text for line in lines(base, "a", count=10, seed=5)] == [line.text for line in ten]
    assert len({line.text for line in ten}) == 10
    assert {line.text for line in lines(base, "a", count=10, seed=6)}.isdisjoint(line.text for line in ten)


@pytest.mark.parametrize("before", [{}, {"message": "who is it?"}, {"author": "ann"}, {"message": "and you?", "author": "bob"}])
def test_temperature_0_takes_the_likeliest_and_says_how_likely(base, before):
    """Against a loop without a cache; message and author are read, and are no part of the line."""
    ids = base.encode(["abc"])[0]
    total, drawn = 0.0, []
    for _ in range(12):
        logits = base.model(input_ids=torch.tensor([frames.frame(base, **before) + ids + drawn])).logits[0, -1]
        logits = logits.masked_fill(base.forbidden, -torch.inf)
        drawn.append(int(logits.argmax()))
        total += float(logits.log_softmax(-1)[drawn[-1]])
        if drawn[-1] == base.separator or "\n" in base.decode(drawn[-1:]):
            break
    first, second = lines(base, "abc", count=2, temperature=0, max_tokens=12, **before)
    assert first.text == second.text == base.decode(ids + [token for token in drawn if token != base.separator]).split("\n")[0]
    assert first.log_likelihood == pytest.approx(total / len(drawn), abs=1e-4)


class Scripted:
    """A base whose rows say given tokens: row i gets script i, whatever it reads."""

    def __init__(self, base, monkeypatch, scripts):
        self.steps, self.sizes = 0, []
        left = [list(script) for script in scripts]

        def pick(logits, *_):
            self.sizes.append(len(logits))
            tokens = [script.pop(0) for script in left]
            for place in reversed([place for place, script in enumerate(left) if not script]):
                last = left.pop()  # as rows do: the last moves up
                if place < len(left):
                    left[place] = last
            return torch.tensor(tokens)

        monkeypatch.setattr(decoding, "pick", pick)
        self.base = base


def test_rows_end_at_separator_newline_or_limit_and_then_cost_nothing(load, monkeypatch):
    base = load("tiny-random")
    a, b, newline, end = *base.encode(["ab\n"])[0], base.separator
    scripted = Scripted(base, monkeypatch, [[a, b, a, b], [a, newline], [end], [b, b, end]])
    drawn = list(decoding.draw(base, "> ", 4, 0, Sampling(max_tokens=4), never))
    assert [(line.index, line.text, line.complete) for line in drawn] == [
        (2, ">", True),
        (1, ">a", True),
        (3, ">bb", True),
        (0, ">abab", False),
    ]
    assert scripted.sizes == [4, 3, 2, 1]


def test_no_line_is_empty(load, monkeypatch):
    base = load("tiny-random")
    a, newline = base.encode(["a\n"])[0]
    Scripted(base, monkeypatch, [[newline, newline, a, newline]])
    assert [line.text for line in decoding.draw(base, "", 1, 0, Sampling(max_tokens=4), never)] == ["a"]
    monkeypatch.undo()
    with torch.no_grad():
        base.model.model.embed_tokens.weight[base.separator] = 9.0  # and with it the output layer: it wants to end at once
    assert all(line.text for line in lines(base, count=8, top_k=0, top_p=1.0))


def test_a_row_streams_before_the_others_are_done(load, monkeypatch):
    base = load("tiny-random")
    scripted = Scripted(base, monkeypatch, [[1, 1, 1], [0]])
    assert next(decoding.draw(base, "", 2, 0, Sampling(max_tokens=3), never)).index == 1
    assert len(scripted.sizes) == 1


def test_specials_are_never_drawn_but_the_end(load):
    base = load("smollm2-135m-instruct")
    with torch.no_grad():
        base.model.model.norm.weight.zero_()  # every token as likely as any other
    drawn = lines(base, count=8, temperature=1.0, top_k=0, top_p=1.0, max_tokens=3)
    assert not any("<|" in line.text for line in drawn)
    logits = torch.zeros(1, len(base.forbidden)).masked_fill(base.forbidden, -torch.inf)
    picked = decoding.pick(logits.expand(50, -1), torch.rand(50).double(), [Sampling(1.0, 1.0, 0)] * 50)
    assert not base.forbidden[picked].any()


def test_what_may_not_be_held_is_never_drawn(base):
    batch = Batch(base)
    wild = {"temperature": 3.0, "top_k": 0, "top_p": 1.0, "max_tokens": 60}
    for name, without in (("none", ""), ("some", "@abc"), ("other", "@")):
        batch.add(Speech(name, None, "a@", 64, 0, Sampling(**wild, without=without)))
    found = {name: {character for line in lines for character in line.text[2:]} for name, lines in said(batch).items()}
    assert {"@", "a", "b", "c"} <= found["none"]
    assert not found["some"] & set("@abc")
    assert "@" not in found["other"]
    assert {"a", "b", "c"} <= found["other"]


def test_a_prompt_too_long_for_the_model_is_read_from_its_end(load):
    base = load("tiny-random")
    long = "y" * 5000 + "the end of it"
    line = lines(base, long, count=1, temperature=0, max_tokens=20, max_weight=0)[0]
    assert line.text.startswith(long)
    read = long[-min(lines_module.MOST_READ, base.context - 20 - 1) :]
    assert line.text[len(long) :] == lines(base, read, count=1, temperature=0, max_tokens=20, max_weight=0)[0].text[len(read) :]


def test_more_tokens_than_the_model_has_places(load):
    base = load("tiny-random")
    assert all(len(line.text.encode()) > 0 for line in lines(base, "x" * 600, count=2, max_tokens=10_000))


def test_a_long_message_and_a_long_prompt_leave_room_for_the_answer(base):
    """The tiny GPT-2 has no position beyond its context."""
    drawn = lines(base, "x" * 600, count=2, message="y" * 600, author="ann", max_tokens=10_000)
    assert all(line.text.startswith("x" * 600) for line in drawn)


def test_what_is_answered_and_who_speaks_change_what_is_said(base):
    said = [lines(base, "a", seed=1, **before)[0].text for before in ({}, {"message": "hi"}, {"message": "ho"}, {"author": "ann"})]
    assert len(set(said)) == 4


def test_a_prompt_is_text_whatever_it_says(load):
    base = load("tiny-random")
    assert lines(base, "<|endoftext|>hi \ud800", count=1, max_tokens=3)[0].text.startswith("<|endoftext|>hi ?")


def test_it_can_be_cancelled_between_two_tokens(load):
    calls = 0

    def check():
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        lines(load("tiny-random"), check=check)


# ------------------------------------------------------------------ in company


def made_up(base, key, rank=4, size=0.3):
    """A voice of random weights, loud enough to be heard."""
    source = torch.Generator().manual_seed(hash(key) % 2**32)
    shapes = lora.shapes(base.layers, rank)
    pairs = {name: tuple(torch.randn(one, generator=source) * size for one in both) for name, both in shapes.items()}
    return Voice(str(key), pairs, 1.0)


def said(batch, steps=10_000):
    """Run a batch until nothing is left, or so long; return the lines of each speech in order."""
    lines = {}
    while batch.busy and steps:
        for id_, line in batch.step():
            lines.setdefault(id_, {})[line.index] = line
        steps -= 1
    return {id_: [found[index] for index in sorted(found)] for id_, found in lines.items()}


def asked(number, voices, chance):
    """One of many requests, unlike each other in everything."""
    settings = Sampling(
        chance.choice([0, 0.7, 1.0, 1.5]),
        chance.choice([0.5, 0.95, 1.0]),
        chance.choice([0, 1, 5, 50]),
        chance.choice([0.0, 0.1]),
        chance.choice([1.0, 1.3]),
        chance.choice([0, 2, 3]),
        chance.choice([1, 7, 30]),
    )
    words = chance.choice(["", "my", "a longer prompt with several words in it, and then some more of them to cross a boundary"])
    message, author = chance.choice(["", "who is late?"]), chance.choice(["", "ann"])
    return Speech(f"s{number}", chance.choice(voices), words, chance.randint(1, 9), number, settings, message, author)


@pytest.fixture(params=["as it lies", "packed"])
def speaking_base(load, base_name, request):
    """A base with its weights as they were loaded, and as a speaker has them."""
    base = load(base_name)
    return bases.pack(base) if request.param == "packed" else base


def test_nothing_that_others_ask_changes_a_line(speaking_base):
    """Forty requests of six voices and none, joining one after another, against each alone; more rows than there are places."""
    base = speaking_base
    chance = random.Random(3)
    voices = [None, *(made_up(base, key, rank) for key, rank in enumerate((4, 4, 4, 8, 1)))]
    speeches = [asked(number, voices, chance) for number in range(40)]
    crowd, lines = Batch(base, most_rows=24), {}
    for speech in speeches:
        crowd.add(speech)
        for id_, found in said(crowd, chance.randint(0, 3)).items():
            lines.setdefault(id_, []).extend(found)
    for id_, found in said(crowd).items():
        lines.setdefault(id_, []).extend(found)
    chance = random.Random(3)
    for number in range(40):
        speech = asked(number, voices, chance)
        alone = Batch(base)
        alone.add(speech)
        mine = sorted(lines[speech.id], key=lambda line: line.index)
        for one, other in zip(mine, said(alone)[speech.id], strict=True):
            assert (one.text, one.complete) == (other.text, other.complete), speech
            assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-5)
            assert one.relevance == pytest.approx(other.relevance, abs=1e-5)


@pytest.mark.parametrize("integers", [False, True])
@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.long)], indirect=True)
def test_the_embedded_base_says_the_same_to_the_last_bit_in_any_company(load, integers, threads):
    """The shapes of the products matter, so it is this base, as a speaker has it: with several threads, and more than 16 rows."""
    base = bases.pack(load("smollm2-135m-instruct"), integers=integers)
    voices = [None, *(made_up(base, key, 8, 0.01) for key in range(3))]

    def speech(number):
        prompt, message = ("", "The fog", "so")[number % 3], ("", "is it dark?")[number % 2]
        if number == 6:  # beyond 64 positions
            return Speech("6", voices[1], "the lamp and the goat, " * 12, 12, number, Sampling(max_tokens=5))
        return Speech(str(number), voices[number % 4], prompt, 1 + number % 2, number, Sampling(max_tokens=5), message)

    numbers = range(6 + (threads > 1))  # the last takes as long as all others
    crowd = Batch(base)
    for number in numbers:
        crowd.add(speech(number))
    together = said(crowd)
    for number in numbers:
        alone = Batch(base)
        alone.add(speech(number))
        assert said(alone)[str(number)] == together[str(number)]


@torch.no_grad()
@pytest.mark.parametrize("precision", ["integers", "bf16", "gpu"])
@pytest.mark.parametrize("dressed", [False, True])
def test_in_another_precision_the_embedded_base_means_nearly_the_same(load, cache, precision, dressed):
    """What docs/speaking.md states: 0.03 nats between the two distributions of the next token, 0.05 in the loss; with a voice, too."""

    def logits(base):
        lora = {name: (a.to(base.device), b.to(base.device)) for name, (a, b) in voice.lora.items()}
        mixed = Mixed(base.readers, [(lora, voice.scale)] if dressed else [], base.device, base.model.dtype)
        mixed.put_on([0 if dressed else None])
        with mixing(base.layers, mixed):
            read = base.model(input_ids=torch.tensor([ids], device=base.device), use_cache=False)
        return read.logits[0].float().log_softmax(-1).cpu()

    if precision == "gpu" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    base = load("smollm2-135m-instruct")
    text = "The fog came in at noon and stayed, as it does in November. I lit the lamp early & wrote the log: two ships, one goat, no mail!"
    ids = [base.opening, *base.encode([text])[0]]
    voice = made_up(base, "somebody", size=0.02)
    exact = logits(base)
    if precision == "integers":
        base = bases.pack(base, integers=True)
    elif precision == "bf16":
        base.model.bfloat16()
    else:
        base = bases.pack(bases.load("smollm2-135m-instruct", cache, torch.device("cuda"), print, never))
    near = logits(base)
    assert (exact.exp() * (exact - near)).sum(-1).mean() < 0.03
    target = torch.tensor(ids[1:])[:, None]
    assert abs((near[:-1].gather(1, target) - exact[:-1].gather(1, target)).mean()) < 0.05
    assert torch.equal(near, exact) == (precision == "integers" and not fast.INTEGERS)


def test_a_row_wears_its_own_voice_alone(base, speaking_base):
    """Against the base wearing each voice by itself, in which no layer has anything to do with another."""
    voices = [made_up(base, key, rank) for key, rank in enumerate((4, 2, 8))]
    batch = Batch(speaking_base)
    for place, voice in enumerate(voices):
        batch.add(Speech(str(place), voice, "so", 2, 5, Sampling(max_tokens=20)))
    batch.add(Speech("none", None, "so", 2, 5, Sampling(max_tokens=20)))
    together = said(batch)
    for place, voice in enumerate(voices):
        with lora.wearing(base.layers, [voice.lora], voice.scale):
            wanted = lines(base, "so", 2, 5, max_tokens=20)
        assert [line.text for line in together[str(place)]] == [line.text for line in wanted]
        assert [line.log_likelihood for line in together[str(place)]] == pytest.approx([line.log_likelihood for line in wanted], abs=1e-4)
    assert [line.text for line in together["none"]] == [line.text for line in lines(base, "so", 2, 5, max_tokens=20)]
    assert len({line[0].text for line in together.values()}) == 4


def test_relevance_is_what_the_message_adds(base, monkeypatch):
    before = {"message": "who is late again?", "author": "ann"}
    script = [*base.encode(["cdefgh"])[0], base.separator]
    Scripted(base, monkeypatch, [list(script), list(script)])

    def mean(**frame):
        ids = torch.tensor([frames.frame(base, **frame) + base.encode(["ab"])[0] + script])
        scores = base.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[-len(script) :, 0]
        return scores.mean().item()

    line, _ = lines(base, "ab", 2, 3, max_tokens=8, **before)
    assert (line.text, line.complete) == ("abcdefgh", True)
    assert line.log_likelihood == pytest.approx(mean(**before), abs=1e-4)
    assert line.relevance == pytest.approx(mean(**before) - mean(author="ann"), abs=1e-4)
    monkeypatch.undo()
    assert lines(base, "ab", 1, 3, max_tokens=8, author="ann")[0].relevance == 0


def test_who_comes_first_is_served_first_and_everybody_is(load):
    base = load("tiny-random")
    batch = Batch(base, most_rows=2)
    order = []
    for name, turn, count in (("post", 30.0, 3), ("one", 1.0, 2), ("two", 2.0, 2)):
        batch.add(Speech(name, None, "", count, 0, Sampling(temperature=0, max_tokens=3), turn=turn))
    while batch.busy:
        order += [id_ for id_, _ in batch.step()]
    assert order == ["one"] * 2 + ["two"] * 2 + ["post"] * 3


def test_a_speech_can_be_dropped_and_the_others_go_on(base):
    voice = made_up(base, 1)

    def speech(name, count=3):
        return Speech(name, voice, "my", count, 7, Sampling(max_tokens=20))

    alone = Batch(base)
    alone.add(speech("kept"))
    wanted = [line.text for line in said(alone)["kept"]]
    batch = Batch(base, most_rows=5)
    for one in (speech("dropped", 2), speech("kept"), speech("waits", 9)):
        batch.add(one)
    batch.step()
    batch.step()
    batch.drop("dropped")
    batch.drop("waits")
    found = said(batch)
    assert found.keys() == {"kept"}
    assert [line.text for line in found["kept"]] == wanted


def test_rows_are_as_many_as_there_is_memory_for(load, monkeypatch):
    """Each counts as long as the longest may become; who does not fit waits, and everybody is answered."""
    base = load("tiny-random")
    monkeypatch.setattr(decoding, "MOST_POSITIONS", 6 * STEP)
    batch = Batch(base)
    batch.add(Speech("short", None, "", 9, 0, Sampling(temperature=0, max_tokens=10), turn=1.0))
    batch.add(Speech("long", None, "x" * STEP, 2, 0, Sampling(temperature=0, max_tokens=10), turn=2.0))
    sizes = set()
    found = {"short": 0, "long": 0}
    while batch.busy:
        for id_, _ in batch.step():
            found[id_] += 1
        sizes.add((len(batch._rows), {row.speech.id for row in batch._rows} == {"short"}))
    assert found == {"short": 9, "long": 2}
    assert max(size for size, short in sizes if short) == 6
    assert max(size for size, short in sizes if not short) <= 3


def test_what_it_takes_is_counted_and_given_back(load):
    base = load("tiny-random")
    batch = Batch(base)
    assert batch.bytes == 0
    batch.add(Speech("a", made_up(base, 1, 16), "so", 2, 0, Sampling(max_tokens=5)))
    batch.add(Speech("b", made_up(base, 2, 16), "so", 2, 0, Sampling(max_tokens=9, max_weight=0)))
    for _ in range(2):  # one has its prompt read at each step
        batch.step()
    everything = batch.bytes
    batch.drop("a")
    batch.tidy({"1"})
    assert batch.bytes == everything
    batch.tidy(set())
    assert 0 < batch.bytes < everything
    batch.drop("b")
    assert batch.bytes == 0


def test_a_relevance_that_is_no_number_fails_its_speech_and_no_other(load, monkeypatch):
    base = load("tiny-random")
    batch = Batch(base)
    monkeypatch.setattr(Batch, "_without_message", lambda _batch, _speech, rows: [float("nan")] * len(rows))
    batch.add(Speech("asks", None, "so", 2, 0, Sampling(max_tokens=5), message="who?"))
    batch.add(Speech("speaks", None, "so", 2, 0, Sampling(max_tokens=5)))
    ended = {}
    while batch.busy:
        for id_, what in batch.step():
            ended.setdefault(id_, []).append(type(what))
    assert ended == {"asks": [BadWeights], "speaks": [decoding.Drawn] * 2}


def test_a_voice_of_no_numbers_fails_and_spoils_nobody_else(load):
    base = load("tiny-random")
    sound, broken = made_up(base, 1), made_up(base, 2)
    for a, _ in broken.lora.values():
        a.fill_(3e38)  # finite, as stored weights must be; but not what comes of it

    def sound_speech():
        return Speech("sound", sound, "my", 3, 7, Sampling(max_tokens=20))

    alone = Batch(base)
    alone.add(sound_speech())
    wanted = [line.text for line in said(alone)["sound"]]
    batch = Batch(base)
    batch.add(Speech("broken", broken, "my", 2, 7, Sampling(max_tokens=20)))
    batch.add(sound_speech())
    ended = [one for _ in range(2) for one in batch.step()]
    assert [(id_, type(what)) for id_, what in ended] == [("broken", BadWeights)]
    assert [line.text for line in said(batch)["sound"]] == wanted


def test_a_line_of_more_than_280_characters_ends(load):
    base = load("tiny-random")
    wild = {"count": 16, "max_tokens": 400, "top_k": 0, "temperature": 1.5}
    drawn = lines(base, "x" * 275, **wild)
    assert all(len(line.text) <= 275 + lines_module.LENGTH_STEP for line in drawn)
    assert not any(line.complete for line in drawn if len(line.text) == 275 + lines_module.LENGTH_STEP)
    assert any(len(line.text) > 400 for line in lines(base, "x" * 275, **wild, max_weight=0))
