"""Cancellation at every await point of every coroutine method of the loop.

Each call of the table is cancelled at its first suspension, then at its second and so on until it
gets through, in each of the ways of `cut.HOW`. Each time a CancelledError with the canceller's
message must come out (TimeoutError, where it is asyncio.timeout() that cancels), no descriptor,
task, timer, wait, thread or child process may be left, nothing may be reported or warned of, and an
unrelated connection of the same loop must still answer.

PENSTOCK_CANCEL_ROUNDS=10000 in the environment cancels each call that many times in each way.
"""

import asyncio
import contextlib
import inspect
import itertools
import os
import threading
import time
import warnings

import pytest

from . import calls
from .census import Census, nothing_beyond
from .cut import HOW, MESSAGE, STUCK, Cut, on_completion, out_of_time
from .scenario import TABLE
from .stage import Bystander, Stage, Tripwire

ROUNDS = int(os.environ.get("PENSTOCK_CANCEL_ROUNDS", "1"))
PATIENCE = 20  # seconds that one attempt may take

assert calls.MODULES


def test_every_coroutine_method_is_in_the_table():
    declared = {
        name
        for name, function in vars(asyncio.AbstractEventLoop).items()
        if inspect.iscoroutinefunction(function)
    }
    assert declared - {scenario.method for scenario in TABLE} == set()


@pytest.mark.parametrize("how", HOW, ids=lambda how: how.__name__)
@pytest.mark.parametrize("scenario", TABLE, ids=str)
def test_cancelled(new_loop, scenario, how):
    if scenario.asyncio_fails and not is_penstock(new_loop):
        pytest.skip(scenario.asyncio_fails)
    if scenario.endless and how is on_completion:
        pytest.skip("it never completes")
    threads = threading.enumerate()
    cuts = 0
    while cuts < ROUNDS:
        made = sum(sweep(new_loop, scenario, how))
        assert made, "it never suspends: there is nothing to cancel"
        cuts += made
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - set(threads) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert set(threading.enumerate()) <= set(threads)


def is_penstock(new_loop):
    return new_loop.__module__.startswith("penstock")


def sweep(new_loop, scenario, how):
    """Cuts ever later, and yields whether there was something to cut."""
    ends = range(1) if scenario.endless else itertools.count()
    if scenario.uses_up_loop:
        for at in ends:
            with Company(new_loop) as company:
                has_cut = company.attempt(scenario, at, how)
            yield has_cut
            if not has_cut:
                return
        return
    with Company(new_loop) as company:
        for at in ends:
            has_cut = company.attempt(scenario, at, how)
            yield has_cut
            if not has_cut:
                return


class Company:
    """A loop and the bystander that lives on it."""

    def __init__(self, new_loop):
        self._runner = asyncio.Runner(loop_factory=new_loop)
        self._bystander = Bystander()

    def __enter__(self):
        self._runner.__enter__()
        self._runner.run(self._bystander.open())
        return self

    def __exit__(self, *exc):
        self._runner.run(self._bystander.close())
        self._runner.__exit__(*exc)

    def attempt(self, scenario, at, how):
        """Whether the call suspended often enough to be cut."""
        return self._runner.run(attempt(scenario, at, how, self._bystander))


async def attempt(scenario, at, how, bystander):
    loop = asyncio.get_running_loop()
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    first = Census.take(loop)
    with contextlib.ExitStack() as afterwards, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stage = afterwards.enter_context(Stage(loop))
        play = scenario.play(stage)
        try:
            call = await anext(play)
            call, feed = call if isinstance(call, tuple) else (call, None)
            for _ in range(3):
                await asyncio.sleep(0)
            before = Census.take(loop)
            cut = Cut(call, at, how, feed)
            has_cut, result = await perform(cut, how)
            tripwire = afterwards.enter_context(Tripwire())
            if has_cut:
                await nothing_beyond(before, tripwire.fds)
            stage.check()
            await bystander.check()
            with contextlib.suppress(StopAsyncIteration):
                await play.asend(result)
            del result
        finally:
            await play.aclose()
            stage.close()
        await nothing_beyond(first, tripwire.fds)
        tripwire.check()
        await bystander.check()
    assert reports == [], "reported to the exception handler"
    assert [str(warning.message) for warning in caught] == []
    return has_cut


async def perform(cut, how):
    task = asyncio.create_task(cut.run())
    watchdog = asyncio.get_running_loop().call_later(PATIENCE, task.cancel, STUCK)
    try:
        result = await task
    except asyncio.CancelledError as exc:
        assert exc.args == (MESSAGE,) and how is not out_of_time, repr(exc)
        assert cut.has_cut
        return True, None
    except TimeoutError:
        assert cut.has_cut and how is out_of_time
        return True, None
    finally:
        watchdog.cancel()
    assert not cut.has_cut, "the cancellation was swallowed"
    return False, result
