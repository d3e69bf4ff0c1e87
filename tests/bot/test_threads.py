"""Pictures are drawn one after the other, and nobody waits behind them."""

import asyncio
import os
import threading

from bot.threads import drawn


async def test_lines_are_judged_while_many_pictures_are_drawn():
    begun, let, drawing, at_once = threading.Event(), threading.Event(), 0, []

    def draw(number: int) -> int:
        nonlocal drawing
        drawing += 1
        at_once.append(drawing)
        begun.set()
        let.wait(20)
        drawing -= 1
        return number

    pictures = [asyncio.create_task(drawn(draw, number)) for number in range((os.cpu_count() or 1) + 40)]
    async with asyncio.timeout(20):
        assert await asyncio.to_thread(begun.wait)
        assert await asyncio.to_thread(lambda: "judged") == "judged"
    let.set()
    assert await asyncio.gather(*pictures) == list(range(len(pictures)))
    assert set(at_once) == {1}
