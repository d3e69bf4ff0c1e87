"""What tests of X stand on: an X on the loopback, and a clock."""

from collections.abc import AsyncIterator

import pytest

from tests.bot.clock import Clock
from tests.loopback_x import LoopbackX


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[LoopbackX]:
    async with LoopbackX() as server:
        yield server
