"""bench/train.py: what it feeds its baselines and how it reckons; and that the whole of it runs, in its small form."""

from pathlib import Path

import pytest
import torch
from transformers import DataCollatorWithFlattening

from bench import figures, peak
from bench.ancestor import blocks
from bench.common import Course, Result, Task, encode, held_out, load
from bench.figures import Run, counted, reached
from bench.strong import features, targets_of
from trainer import bases

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "var" / "cache"
TEXTS = ["the lamp is lit", "a gull has taken the boot, again", "fog"]


@pytest.fixture(scope="module")
def base():
    return bases.load("tiny-random", CACHE, torch.device("cpu"), lambda _: None, lambda: None)


@pytest.fixture
def task(base, tmp_path):
    report = [[base.separator, *ids, base.separator] for ids in base.encode(TEXTS)]
    return Task(
        source=base.model.name_or_path,
        cache=str(CACHE),
        device="cpu",
        separator=base.separator,
        row=256,
        block=64,
        train=TEXTS,
        stop=TEXTS,
        report=report,
        seed=0,
        look_every=64,
        output=str(tmp_path / "model"),
    )


def result(**fields):
    common = {"ready": 0.0, "aside": 0.0, "seconds": 10.0, "stepping": 10.0, "tokens": 100, "steps": 10, "epochs": 1.0, "memory": 1}
    return Result(**{**common, "memory_gpu": 0, "stored": 1, "before": 6.0, "final": 4.0, "curve": []} | fields)


def run(contender, *, seed=0, rate=0.0, wait=1.0, **fields):
    return Run(contender, seed, rate, wait, 1e9, result(**fields))


def test_the_ancestor_reads_every_epoch_in_blocks_without_gaps():
    posts = [[n] * n for n in range(1, 10)]
    made = blocks(posts, 0, 16, epochs=4, seed=1)
    text = [token for block in made for token in block]
    assert {len(block) for block in made} == {16}
    assert text[0] == 0
    assert 4 * (45 + 9) + 1 - len(text) < 16  # nothing but the end of the last epoch is missing
    first = text[: 45 + 9 + 1]
    assert sorted(first) == sorted([0] + [token for post in posts for token in [*post, 0]])
    assert first != text[45 + 9 : 2 * (45 + 9) + 1]  # another order


def test_no_post_of_the_strong_baseline_sees_another(task):
    model, tokenizer = load(task.source, task.cache)
    dataset = features(encode(tokenizer, TEXTS), task.separator, task.row + 1)
    collate = DataCollatorWithFlattening()
    with torch.no_grad():
        together = model(**collate(dataset)).loss * targets_of(dataset)
        alone = sum(model(**collate([one])).loss * targets_of([one]) for one in dataset)
        flat = [token for one in dataset for token in one["input_ids"]]
        blind = model(input_ids=torch.tensor([flat]), labels=collate(dataset)["labels"]).loss * targets_of(dataset)
    assert together.item() == pytest.approx(alone.item(), abs=1e-3)
    assert abs(blind.item() - alone.item()) > 1e-2  # the test can tell


def test_a_look_measures_each_post_alone(task):
    model, _ = load(task.source, task.cache)
    with torch.no_grad():
        each = [model(input_ids=torch.tensor([post]), labels=torch.tensor([post])).loss.item() * (len(post) - 1) for post in task.report]
    assert held_out(model, task) == pytest.approx(sum(each) / sum(len(post) - 1 for post in task.report), abs=1e-5)


def test_contenders_start_from_the_base_that_mynah_starts_from(task, base):
    model, tokenizer = load(task.source, task.cache)
    assert encode(tokenizer, TEXTS) == base.encode(TEXTS)
    assert held_out(model, task) == pytest.approx(held_out(base.model, task), abs=1e-5)
    assert peak.matrix_parameters(model) == peak.matrix_parameters(base.model) == sum(p.numel() for p in model.parameters() if p.dim() == 2)


def test_looks_are_off_the_clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def measure():
        now[0] += 50.0
        return 1.0

    course = Course(measure, every=2)
    course.start()
    for step in (1, 2, 3):
        now[0] += 1.0
        course.step(step, last=step == 3)
    course.step(3, last=True)  # told twice, looked once
    assert course.curve == [(0, 0.0, 1.0), (2, 2.0, 1.0), (3, 3.0, 1.0)]
    assert (course.seconds, course.aside) == (3.0, 150.0)


def test_a_level_is_reached_between_two_looks_on_a_line():
    curve = [(0, 0.0, 6.0), (4, 10.0, 5.0), (8, 20.0, 4.0), (12, 30.0, 4.5)]
    assert reached(curve, 4.5) == 15.0
    assert reached(curve, 4.0) == 20.0
    assert reached(curve, 3.9) is None


def test_of_several_rates_the_one_best_on_the_stop_split_counts_though_another_reports_better():
    runs = [
        run("b", rate=1e-3, stop_loss=4.0, final=4.2),
        run("b", rate=2e-3, stop_loss=4.1, final=3.9),
        run("b", seed=1, rate=2e-3, stop_loss=5.0),
    ]
    assert {seed: by["b"].rate for seed, by in counted(runs).items()} == {0: 1e-3, 1: 2e-3}


def test_figures_compare_seed_by_seed_and_the_table_says_who_did_not_arrive():
    fall = [(0, 0.0, 6.0), (10, 10.0, 4.0)]
    runs = [
        run("a", seed=0, wait=80.0, final=4.5, curve=[*fall, (20, 20.0, 4.5)]),
        run("c", seed=0, wait=10.0, final=4.01, curve=[(0, 0.0, 6.0), (5, 2.0, 3.9)]),
        run("a", seed=1, wait=60.0, final=4.5, curve=fall),
        run("c", seed=1, wait=20.0, final=4.02, curve=[(0, 0.0, 6.0), (5, 2.0, 4.01)]),
    ]
    found = figures.figures(runs, parameters=1000)
    assert found["wait_s_a_to_c"] == [8.0, 3.0]
    assert found["best_at_s_a"] == [10.0, 10.0]
    assert found["equal_s_c"] == [pytest.approx(2.0 * 2.0 / 2.1), None]
    assert found["final_loss_c_less_best_of_others"] == [pytest.approx(0.01), pytest.approx(0.02)]
    assert found["share_of_peak_a"] == [6 * 1000 * 100 / 10 / 1e9] * 2
    assert found["share_of_peak_c"] == [4 * 1000 * 100 / 10 / 1e9] * 2
    table = figures.table(found, 1000)
    assert "| wait, s | 70.0 (60.0 to 80.0) |  | 15.0 (10.0 to 20.0) | 5.50 (3.00 to 8.00) |  |" in table
    assert "1.9, 1 of 2 seeds" in table
    assert "+0.010, +0.020; mean +0.015: a tie." in table


def test_the_small_form_runs_all_three_and_says_everything(small_form):
    document, _ = small_form("train", "--posts", "data/sample", "--device", "cpu")
    assert [run["contender"] for run in document["runs"]] == ["a", "b", "c"]
    for name in ("wait_s", "final_loss", "best_loss", "tokens_per_s", "share_of_peak", "memory_gb", "stored_mb"):
        for contender in "abc":
            (value,) = document["figures"][f"{name}_{contender}"]
            assert value > 0, (name, contender)
    # The same tokens, the same base: so measured by Mynah itself and by the looks at the others.
    assert len({round(run["result"]["before"], 3) for run in document["runs"]}) == 1
    for each in document["runs"]:
        curve = each["result"]["curve"]
        assert [look[1] for look in curve] == sorted(look[1] for look in curve)
        assert curve[0][0] == 0
        assert curve[-1][0] == each["result"]["steps"]
        assert curve[-1][2] < each["result"]["before"]
