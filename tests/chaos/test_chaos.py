"""The short form of the chaos, on children that need no model; `make chaos` has the long one."""

import gc

import pytest

from tests.chaos.chaos import VICTIMS, Plan, chaos

# The server's side of a connection whose client is killed in this very moment may be collected open, with the loop, in a later test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected_here():
    gc.collect()
    yield
    gc.collect()


async def test_nothing_is_lost_when_everything_is_killed(tmp_path, capsys):
    outcome = await chaos(tmp_path, Plan(seed=1, module="tests.chaos.light", kills=6))
    with capsys.disabled():
        print(f"\n{outcome}")
    assert outcome.lost == []
    assert all(outcome.kills[victim] == 2 for victim in VICTIMS)
    done = {what.partition(",")[0]: number for what, _, number in outcome.tally}  # of the others, so short a time may hold none
    assert min(done[what] for what in ("trainings", "their ends told", "imports", "schedules asked for a draft", "posts on X")) > 0
