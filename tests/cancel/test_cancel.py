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
import functools
import inspect
import sys
import threading
import time

import pytest

from . import calls
from .census import Census, nothing_beyond
from .company import ROUNDS, Company, is_penstock
from .cut import HOW, MESSAGE, STUCK, Cut, on_completion, out_of_time
from .scenario import TABLE

PATIENCE = 10  # seconds that one attempt may take
TRIES = 20  # a thread may be done before anybody has waited for it

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
    for _ in range(TRIES):
        made = cut_everywhere(new_loop, scenario, how)
        if made:
            break
    if not made and not is_penstock(new_loop):
        pytest.skip("the thread was quicker each time")  # on a busy machine; from 3.14.10 on
    assert made, "it never suspends: there is nothing to cancel"
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - set(threads) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert set(threading.enumerate()) <= set(threads)


def cut_everywhere(new_loop, scenario, how):
    """Cuts ever later until the call gets through, again and again; how often there was a cut."""
    cuts = at = 0
    company = None
    with contextlib.ExitStack() as companies:
        while True:
            if company is None or scenario.uses_up_loop:
                companies.close()
                company = companies.enter_context(Company(new_loop))
            has_cut = company.perform(functools.partial(attempt, scenario, at, how))
            cuts += has_cut
            at += 1
            if not has_cut or scenario.endless:
                if not ROUNDS > cuts > 0:
                    return cuts
                at = 0


async def attempt(scenario, at, how, stage):
    """Whether the call suspended often enough to be cut."""
    loop = asyncio.get_running_loop()
    play = scenario.play(stage)
    try:
        call = await begin(play)
        call, feed = call if isinstance(call, tuple) else (call, None)
        for _ in range(3):
            await asyncio.sleep(0)
        before = Census.take(loop)
        has_cut, result = await outcome(Cut(call, at, how, feed), how)
        stage.tripwire.set()
        if has_cut:
            await nothing_beyond(before, stage.tripwire.fds)
        with contextlib.suppress(StopAsyncIteration):
            await play.asend(result)
    finally:
        await play.aclose()
    return has_cut


def begin(play):
    """anext(play), unseen by the loop, for shutdown_asyncgens() would close it."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return anext(play)
    finally:
        sys.set_asyncgen_hooks(*hooks)


async def outcome(cut, how):
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
