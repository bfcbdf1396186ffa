"""A loop, the bystander that lives on it, and performances that leave both as they were."""

import asyncio
import contextlib
import itertools
import os
import warnings

from .census import Census, nothing_beyond
from .stage import Bystander, Stage

# How often each performance is repeated, each cut of a call, and each end of a descriptor.
ROUNDS = int(os.environ.get("PENSTOCK_CANCEL_ROUNDS", "1"))


def rounds(*variants):
    """Each variant in turn, each once at least."""
    return itertools.islice(itertools.cycle(variants), max(ROUNDS, len(variants)))


def is_penstock(new_loop):
    return new_loop.__module__.startswith("penstock")


class Company:
    def __init__(self, new_loop):
        self._runner = asyncio.Runner(loop_factory=new_loop)
        self._bystander = Bystander()
        self.is_penstock = is_penstock(new_loop)

    def __enter__(self):
        self._runner.__enter__()
        self._runner.run(self._bystander.open())
        return self

    def __exit__(self, *exc):
        self._runner.run(self._bystander.close())
        self._runner.__exit__(*exc)

    def perform(self, play):
        """Run `await play(stage)`, and return what it does."""
        return self._runner.run(self._perform(play))

    async def _perform(self, play):
        loop = asyncio.get_running_loop()
        reports = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        before = Census.take(loop)
        with contextlib.ExitStack() as afterwards, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stage = Stage(loop)
            afterwards.callback(stage.tripwire.close)
            with stage:
                outcome = await play(stage)
                stage.tripwire.set()
                stage.check()
                await self._bystander.check()
            await nothing_beyond(before, stage.tripwire.fds)
            stage.tripwire.check()
            await self._bystander.check()
        unexpected = [report for report in reports if not stage.expects(report)]
        assert unexpected == [], f"reported to the exception handler: {unexpected}"
        warned = [str(warning.message) for warning in caught]
        assert warned == [], f"warned of: {warned}"
        return outcome
