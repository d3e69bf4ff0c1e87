"""The ledger: nothing is paid for beyond a cap, whatever happens in whatever order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule
from sqlite_utils import Database

from data import spending
from data.errors import BudgetError
from data.migrations import migrations
from data.spending import Caps, Kind
from data.store import transact

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CAPS = Caps(day=1_000_000, month=10_000_000)


@pytest.fixture
def db():
    db = Database(memory=True)
    migrations.apply(db)
    yield db
    db.close()


def reserve(db, most, at=NOON, caps=CAPS, kind=Kind.POSTS_READ):
    return spending.reserve(db, kind, most, price=5000, why="a test", account="", caps=caps, at=at)


def test_what_is_reserved_counts_in_full_until_it_is_settled(db):
    number = reserve(db, 150)
    assert spending.spent(db, spending.day(NOON)) == 750_000
    with pytest.raises(BudgetError):
        reserve(db, 51)
    spending.settle(db, number, 100, NOON)
    reserve(db, 100)
    assert spending.spent(db, spending.day(NOON)) == 1_000_000


def test_a_row_is_settled_once(db):
    number = reserve(db, 10)
    spending.settle(db, number, 7, NOON)
    spending.settle(db, number, 0, NOON)
    assert spending.spent(db, spending.day(NOON)) == 35_000


@pytest.mark.parametrize(
    ("caps", "says"),
    [
        (Caps(100_000, 900_000), "This may cost $0.105 (a test), and x.daily_cap ($0.10) leaves $0.10: wait for the next UTC day"),
        (Caps(900_000, 100_000), "x.monthly_cap ($0.10) leaves $0.10: wait for the next UTC month, or raise the cap in config.toml."),
        (Caps(0, 0), "x.daily_cap ($0.00) leaves $0.00"),
    ],
)
def test_a_refusal_is_one_sentence_and_no_row(db, caps, says):
    with pytest.raises(BudgetError) as caught:
        reserve(db, 21, caps=caps)
    assert says in str(caught.value)
    assert db["spending"].count == 0


def test_a_new_day_has_its_own_cap_and_a_new_month_too(db):
    caps = Caps(100_000, 150_000)
    reserve(db, 20, caps=caps)
    with pytest.raises(BudgetError, match="daily"):
        reserve(db, 1, caps=caps, at=NOON.replace(hour=23, minute=59))
    reserve(db, 10, caps=caps, at=NOON + timedelta(hours=12))
    with pytest.raises(BudgetError, match="monthly"):
        reserve(db, 1, caps=caps, at=NOON + timedelta(days=8))
    reserve(db, 20, caps=caps, at=NOON + timedelta(days=9))


def test_what_was_paid_while_the_clock_was_ahead_counts_when_it_is_right_again(db):
    reserve(db, 200, at=NOON + timedelta(days=3))
    with pytest.raises(BudgetError):
        reserve(db, 1)


def test_by_kind_the_dearest_comes_first_and_what_gave_nothing_is_left_out(db):
    reserve(db, 2, kind=Kind.USERS_READ)
    spending.settle(db, reserve(db, 100), 30, NOON)
    spending.settle(db, reserve(db, 1, kind=Kind.POSTS_WRITTEN), 0, NOON)
    assert spending.by_kind(db, spending.day(NOON)) == [
        spending.Spent(Kind.POSTS_READ, 30, 150_000, 0),
        spending.Spent(Kind.USERS_READ, 2, 10_000, 10_000),
    ]


@pytest.mark.parametrize(
    ("micro", "said"),
    [(0, "$0.00"), (15_000, "$0.015"), (5_000, "$0.005"), (200_000, "$0.20"), (1_234_000_000, "$1,234.00"), (1, "$0.000001")],
)
def test_amounts_are_said(micro, said):
    assert spending.dollars(micro) == said


class Ledger(RuleBasedStateMachine):
    """What X was really paid, told apart from what the ledger says; X delivers at most what was asked for, and may after a crash."""

    calls = Bundle("calls")

    def __init__(self):
        super().__init__()
        self.db = Database(memory=True)
        migrations.apply(self.db)
        self.now = NOON
        self.caps = Caps(100, 400)
        self.paid: dict[int, tuple[datetime, int]] = {}

    def teardown(self):
        self.db.close()

    @rule(day=st.integers(0, 300), month=st.integers(0, 900))
    def set_caps(self, day, month):
        self.caps = Caps(day, month)

    @rule(target=calls, price=st.integers(0, 20), most=st.integers(0, 20))
    def reserve(self, price, most):
        at, caps = self.now, self.caps
        before = self._paid(spending.day(at)), self._paid(spending.month(at))
        try:
            number = transact(
                self.db,
                lambda db: spending.reserve(db, Kind.POSTS_READ, most, price=price, why="", account="", caps=caps, at=at),
            )
        except BudgetError:
            assert before[0] + price * most > caps.day or before[1] + price * most > caps.month, "it could have been paid"
            return None
        self.paid[number] = (at, price * most)  # until it is known, X may have delivered everything
        if price * most:
            assert self._paid(spending.day(at)) <= caps.day
            assert self._paid(spending.month(at)) <= caps.month
        return number, price, most

    @rule(call=consumes(calls), share=st.floats(0, 1))
    def settle(self, call, share):
        if call is not None:
            number, price, most = call
            count = round(share * most)
            transact(self.db, lambda db: spending.settle(db, number, count, self.now))
            self.paid[number] = (self.paid[number][0], price * count)

    @rule(call=consumes(calls))
    def crash(self, call):
        """Nobody will settle it."""

    @rule(hours=st.integers(-40, 800))
    def step_the_clock(self, hours):
        self.now += timedelta(hours=hours)

    def _paid(self, since):
        total = sum(cost for at, cost in self.paid.values() if at >= since)
        assert spending.spent(self.db, since) == total
        return total


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40)
