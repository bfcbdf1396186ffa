"""A loop whose time() the program has replaced: the timers go by it."""

import asyncio
import time

import pytest


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


def test_timers_go_by_it(loop):
    start = loop.time()
    loop.time = lambda: start
    fired = []

    async def main():
        nonlocal start
        loop.call_later(3600, fired.append, "an hour")
        loop.call_at(start + 7200, fired.append, "two hours")
        sleeping = asyncio.ensure_future(asyncio.sleep(1800))
        await settle()
        assert fired == [] and not sleeping.done()
        start += 3600
        await settle()
        assert fired == ["an hour"] and sleeping.done()
        start += 3600
        await settle()
        assert fired == ["an hour", "two hours"]

    loop.run_until_complete(main())


def test_they_wait_while_it_stands(loop):
    start = loop.time()
    loop.time = lambda: start
    fired = []

    async def main():
        loop.call_later(0.01, fired.append, "early")
        await loop.run_in_executor(None, time.sleep, 0.05)
        await settle()
        assert fired == []
        del loop.time
        await settle()
        assert fired == ["early"]

    loop.run_until_complete(main())


def test_one_that_starts_at_zero(new_loop):
    plain = new_loop()
    plain.close()

    class Clocked(type(plain)):
        def __init__(self):
            super().__init__()
            self.began = time.monotonic()

        def time(self):
            return time.monotonic() - self.began if hasattr(self, "began") else 0.0

    loop = Clocked()
    try:
        began = time.monotonic()
        loop.run_until_complete(asyncio.wait_for(asyncio.sleep(0.02, "slept"), 10))
        assert 0.02 <= time.monotonic() - began < 5
    finally:
        loop.close()


def test_what_it_raises_ends_the_run(loop):
    def fail():
        raise LookupError("no time")

    loop.call_later(0.01, loop.stop)
    loop.time = fail
    with pytest.raises(LookupError, match="no time"):
        loop.run_forever()
    with pytest.raises(LookupError, match="no time"):
        loop.call_later(1, print)
    del loop.time
