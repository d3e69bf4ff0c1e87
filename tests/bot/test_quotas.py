"""Quotas: counted from rows, by member and by server; nothing is written where one is used up."""

from datetime import datetime, timedelta

import pytest

from bot.errors import QuotaError
from bot.services.quotas import quotas_of
from bot.services.speaking import Speaking
from bot.services.training import Training
from bot.settings import Quotas
from data import jobs, servers
from data.origin import Origin
from tests.bot.test_speaking import ScriptedSpeaker
from tests.voices import add_version

ANN, BOB = 11, 12
HERE, THERE = 21, 22


def limited(settings, **quotas):
    return settings.model_copy(update={"quotas": Quotas(**quotas)})


def age(db, table, seconds):
    """Let all rows be so much older."""
    for row in list(db.query(f"SELECT id, created_at FROM {table}")):
        earlier = datetime.fromisoformat(row["created_at"]) - timedelta(seconds=seconds)
        db.table(table).update(row["id"], {"created_at": earlier.isoformat(timespec="microseconds")})


@pytest.fixture
def training(filled, settings, executor):
    return Training(filled, limited(settings, trainings_a_day=1, trainings_a_day_server=2), executor)


async def test_a_member_has_so_many_trainings_a_day_wherever_he_asks(training, filled):
    assert (await training.request(["ann"], by="a", origin=Origin(ANN, HERE))).new
    assert not (await training.request(["ann"], by="a", origin=Origin(ANN, HERE))).new  # joined: it costs nothing
    with pytest.raises(QuotaError, match="You may ask for 1 trainings within a day: the next is possible in 24 h"):
        await training.request(["bob"], by="a", origin=Origin(ANN, THERE))
    assert len(await filled.read(jobs.recent)) == 1
    await filled.write(age, "jobs", 86_380)
    with pytest.raises(QuotaError, match=r"possible in (1\d|20) s"):
        await training.request(["bob"], by="a", origin=Origin(ANN, None))
    await filled.write(age, "jobs", 21)
    assert (await training.request(["bob"], by="a", origin=Origin(ANN, None))).new


async def test_the_members_of_a_server_share_a_quota_and_the_terminal_has_none(training):
    for member, handle in ((1, "ann"), (2, "bob")):
        await training.request([handle], by="m", origin=Origin(member, HERE))
    with pytest.raises(QuotaError, match="The members here together may ask for 2 trainings within a day: the next"):
        await training.request(["ann", "bob"], by="m", origin=Origin(3, HERE))
    assert (await training.request(["ann", "bob"], by="operator")).new


async def test_a_quota_of_none_names_no_time(filled, settings, executor):
    training = Training(filled, limited(settings, trainings_a_day=0), executor)
    with pytest.raises(QuotaError, match=r"You may ask for 0 trainings within a day\.$"):
        await training.request(["ann"], by="a", origin=Origin(ANN, HERE))


async def test_lines_are_counted_by_the_minute(filled, settings):
    await filled.write(add_version, ("ann",))
    speaking = Speaking(filled, limited(settings, lines_a_minute=10), ScriptedSpeaker())

    async def ask(count, member=ANN):
        return await speaking.request("ann", by="a", origin=Origin(member, HERE), count=count)

    await ask(4)
    await filled.write(age, "requests", 30)
    await ask(6)
    # Half a minute after the first four, or a minute after the six, less what a busy machine has taken since.
    with pytest.raises(QuotaError, match=r"10 lines within a minute: ask again in (2\d|30) s"):
        await ask(3)
    with pytest.raises(QuotaError, match=r"ask again in (5\d|60) s"):
        await ask(5)
    with pytest.raises(QuotaError, match="10 lines within a minute: ask for fewer"):
        await ask(11, member=BOB)
    await ask(10, member=BOB)
    await speaking.request("ann", by="operator", count=20)
    await filled.write(age, "requests", 31)
    await ask(4)
    assert await filled.read(lambda db: db["requests"].count) == 5


@pytest.mark.parametrize(("set_there", "holds"), [(2, 2), (0, 0), (3, 3), (9, 3), (None, 3)])
async def test_a_server_lowers_a_quota_and_never_raises_it(filled, set_there, holds):
    operator = Quotas(trainings_a_day=3, trainings_a_day_server=3, lines_a_minute=3)
    for name in ("trainings_a_day", "trainings_a_day_server"):
        await filled.write(servers.change, HERE, "boss", **{name: set_there})
    found = await filled.read(quotas_of, HERE, operator)
    assert found == Quotas(trainings_a_day=holds, trainings_a_day_server=holds, lines_a_minute=3)
    assert await filled.read(quotas_of, THERE, operator) == operator
    assert await filled.read(quotas_of, None, operator) == operator


async def test_a_servers_quotas_hold_in_it_alone(training, filled, settings):
    await filled.write(servers.change, HERE, "boss", trainings_a_day_server=0, lines_a_minute=2)
    with pytest.raises(QuotaError, match=r"The members here together may ask for 0 trainings within a day\.$"):
        await training.request(["ann"], by="a", origin=Origin(ANN, HERE))
    assert (await training.request(["ann"], by="a", origin=Origin(ANN, THERE))).new
    await filled.write(add_version, ("ann",))
    speaking = Speaking(filled, limited(settings, lines_a_minute=10), ScriptedSpeaker())
    with pytest.raises(QuotaError, match="You may ask for 2 lines within a minute: ask for fewer"):
        await speaking.request("ann", by="a", origin=Origin(ANN, HERE), count=3)
    for server in (THERE, None):
        await speaking.request("ann", by="a", origin=Origin(BOB, server), count=3)
