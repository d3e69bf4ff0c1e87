"""A trainer that stays takes order after order, each as if it were its first, and ends when it is asked to or when its parent is gone."""

import signal
from dataclasses import replace

import pytest

from tests.trainer.conftest import ends, of, tell
from trainer.protocol import Cancel, Failed, Order, Stage, parse


def heard(child, after=()):
    """Return the events of one order, without its Ready; `after` are pairs of an event's type and what to say once it came."""
    events, waiting = [], list(after)
    while (event := parse(child.stdout.readline())).type != "ready":
        events.append(event)
        if waiting and event.type == waiting[0][0]:
            tell(child, waiting.pop(0)[1])
    return events


def test_order_after_order(start, job, trained, written, tmp_path, monkeypatch):
    monkeypatch.undo()  # lines as long as the other process says them
    first, second = job("first", seed=1, epochs=1), job("second", seed=2, data_seed=2, epochs=1)
    cold = trained(replace(second, output=second.output + "-cold"))
    with start(stay=True) as child:
        tell(child, Order([written(first)]))
        assert ends(heard(child))["first"].type == "done"

        tell(child, Order([written(second)]))
        warm = ends(heard(child))["second"]
        assert warm.sha256 == cold.sha256
        assert (warm.loss_before, warm.loss_after, warm.samples) == (cold.loss_before, cold.loss_after, cold.samples)
        assert warm.seconds < 60

        # A file that holds no job is nobody's failure, and ends nothing.
        tell(child, Order([written(first), str(tmp_path / "nowhere.json")]))
        (failed,) = heard(child)
        assert (type(failed), failed.job, failed.code) == (Failed, "", "bad_job")
        assert "nowhere.json" in failed.sentence

        # One of two is cancelled.
        doomed, spared = job("doomed", train=200, epochs=20), job("spared", seed=1, epochs=20)
        tell(child, Order([written(doomed), written(spared)]))
        found = ends(heard(child, [("step", Cancel("doomed"))]))
        assert found["doomed"].code == "cancelled"
        assert found["spared"].type == "done"

        # What was cancelled in one order is no concern of the next; what is no job of the order is no concern of this one.
        tell(child, Order([written(replace(second, id="doomed"))]))
        found = ends(heard(child, [("stage", Cancel("spared"))]))
        assert found["doomed"].sha256 == cold.sha256

        # SIGINT ends the order that is under way, and then the process.
        tell(child, Order([written(doomed), written(spared)]))
        events = [parse(child.stdout.readline())]
        while events[-1].type != "step":
            events.append(parse(child.stdout.readline()))
        child.send_signal(signal.SIGINT)
        rest = [parse(line) for line in child.stdout]
        assert {end.code for end in ends(events + [event for event in rest if event.type != "ready"]).values()} == {"cancelled"}
        assert rest[-1].type == "ready"
        assert child.wait() == 0


def test_a_message_for_somebody_else_is_passed_over_and_sigint_while_it_waits_ends_it(start):
    with start(stay=True) as child:
        tell(child, Stage("base"))
        tell(child, Order(["/nowhere.json"]))
        assert [event.code for event in heard(child)] == ["bad_job"]
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == ""
        assert child.wait() == 0
        assert "Traceback" not in child.stderr.read()


def test_stdin_that_closes_ends_a_training(start, job, written):
    with start(stay=True) as child:
        tell(child, Order([written(job(train=200, epochs=100))]))
        while parse(child.stdout.readline()).type != "step":
            pass
        child.stdin.close()
        rest = [parse(line) for line in child.stdout]
        assert child.wait() == -signal.SIGKILL
    assert not of(Failed, rest)


@pytest.mark.parametrize("line", [None, "{}", '{"type": "order", "files": 3}'])
def test_it_ends_when_it_cannot_understand_its_parent(start, line):
    with start(stay=True) as child:
        if line is not None:
            tell(child, line)
        else:
            child.stdin.close()
        assert child.stdout.read() == ""
        assert child.wait() == -signal.SIGKILL
