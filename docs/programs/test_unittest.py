import asyncio
import unittest

import penstock


class ClockTest(unittest.IsolatedAsyncioTestCase):
    loop_factory = penstock.Loop  # from Python 3.13 on

    async def test_sleep_takes_its_time(self):
        loop = asyncio.get_running_loop()
        self.assertIsInstance(loop, penstock.Loop)
        before = loop.time()
        await asyncio.sleep(0.01)
        self.assertGreaterEqual(loop.time() - before, 0.01)
