"""What becomes of a scene where one allocation of the native half fails, or all from one on.

`python -m tests.faults.shortage [SCENE ...]` tries every one, and goes on after what is wrong.
"""

import asyncio
import ctypes
import gc
import inspect
import json
import logging
import os
import random
import subprocess
import sys
import traceback
from pathlib import Path

import penstock

from tests.descriptors import open_fds
from tests.faults.scenes import SCENES, SHORT
from tests.faults.sweep import library

HERE = Path(__file__).parent
SEED = 20240607
# When who waits for what a shortage has undone is told to give up: soon if somebody was told of it.
CHECKS = (0.06, 0.15, 0.3, 0.6, 1.2, 2.5)
# What a peer makes of a connection whose other end has run out of memory.
LOSSES = (ConnectionError, EOFError, TimeoutError)
KEPT = []  # a loop, and what is made of it


class Shortage:
    """Refuses an allocation within its `with`, and keeps whatever error comes of it."""

    def __init__(self, library, number, lasting):
        self.library, self.number, self.lasting = library, number, lasting
        self.error = None
        self.refused = 0
        self.told = []
        self.unmet = []

    def __enter__(self):
        self.library.shortage_begin(self.number, self.lasting)
        return self

    def __exit__(self, kind, error, trace):
        self.end()
        if error is None or isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            return False
        self.error = error
        return True

    def end(self):
        while True:
            try:
                self.refused = self.library.shortage_end()
                return
            except MemoryError:
                pass

    def expect(self, condition):
        """Nothing is expected any more once somebody is told that something went wrong."""
        if not condition:
            self.unmet.append(sys._getframe(1).f_lineno)

    def tell(self, what):
        self.told.append(what)


def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# What CPython makes of it, without penstock too.
NOT_OURS = (
    # Where a frame outlives its call and there is no memory for its caller's, take_ownership()
    # clears the MemoryError, and what the function had raised is gone already: without penstock,
    # next(map(function_that_raises, [1])) under _testcapi.set_nomemory(5, 6).
    (SystemError, "returned NULL without setting an exception"),
)


def is_not_ours(error):
    return any(isinstance(error, kind) and text in str(error) for kind, text in NOT_OURS)


def is_allowed(error):
    kinds = list(chain(error))
    if any(isinstance(kind, SystemError) and not is_not_ours(kind) for kind in kinds):
        return False
    return any(isinstance(kind, (MemoryError, *LOSSES)) or is_not_ours(kind) for kind in kinds)


class Log(logging.Handler):
    """What is logged is told too."""

    def emit(self, record):
        SHORT[0].tell({"message": record.getMessage(), "exception": (record.exc_info or (0, 0))[1]})

    def handleError(self, record):
        SHORT[0].tell(sys.exc_info()[1])


def use_up_the_dead():
    """Else what the trials before have freed is used again, and nothing is asked for."""

    async def nothing():
        pass

    loop = KEPT[0]
    for _ in range(60):
        future = loop.create_future()
        calls = [loop.call_soon(int), loop.call_later(9, int)]
        for call in calls:
            call.cancel()
        task = loop.create_task(nothing())
        KEPT.append([future, future.__await__(), calls, task, penstock._core.sleep(0)])
    loop.run_until_complete(asyncio.sleep(0))


class Trial:
    """One scene, once."""

    def __init__(self, library, body, number, lasting):
        self.body = body
        self.short = Shortage(library, number, lasting)
        SHORT[:] = [self.short]
        self.wrong = []
        self.timers = []
        self.is_stuck = False
        self.is_waited_for = True

    def run(self):
        use_up_the_dead()
        before = open_fds()
        sys.unraisablehook = lambda said: self.short.tell(said.exc_value)
        if inspect.iscoroutinefunction(self.body):
            loop = penstock.new_event_loop()
            try:
                self.run_on(loop)
            finally:
                loop.close()
        else:
            self.body(self.short)
            # asyncio needs memory to say that no loop runs: run_forever() may fail to, there too.
            asyncio._set_running_loop(None)
        self.short.end()
        self.judge()
        sys.unraisablehook = sys.__unraisablehook__
        self.short.error = None
        for _ in range(2):  # a task that goes while it is pending tells of itself
            self.short.told.clear()
            gc.collect()
        gc.freeze()
        # A lasting shortage has CPython lose references, and what they hold with them.
        if (after := open_fds()) != before and not self.short.lasting:
            left = {fd: file for fd, file in after.items() if before.get(fd) != file}
            self.wrong.append(f"leaves {left}")
        return self.wrong

    def run_on(self, loop):
        loop.set_exception_handler(lambda _, context: self.short.tell(context))
        self.timers = [
            loop.call_later(when, self.check, loop, when == CHECKS[-1]) for when in CHECKS
        ]
        task = loop.create_task(self.play(loop))
        try:
            loop.run_forever()
        except MemoryError as error:
            self.short.end()
            self.short.tell(error)
            loop.run_forever()
        self.short.end()
        self.is_waited_for = False
        for timer in self.timers:
            timer.cancel()
        if not task.done():
            # Who waits for a callback that was lost is not to be woken, be it told of so or not.
            if not self.short.told and not self.short.lasting:
                self.wrong.append("hangs")
        elif not task.cancelled() and self.short.error is None:
            self.short.error = task.exception()
        self.check_use(loop)
        if others := asyncio.all_tasks(loop):
            for other in others:
                other.cancel()
            loop.run_until_complete(asyncio.wait(others, timeout=0.05))
        loop.run_until_complete(loop.shutdown_default_executor())

    async def play(self, loop):
        try:
            await self.body(self.short)
        finally:
            self.short.end()
            if self.is_waited_for:  # one that took long to give up would stop what comes after
                loop.stop()

    def check(self, loop, is_last):
        if is_last or self.short.told or self.short.lasting:
            self.is_stuck = True
            self.short.end()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            self.timers.append(loop.call_later(0.1, loop.stop))

    def check_use(self, loop):
        async def use():
            future = loop.create_future()
            loop.call_later(0, loop.call_soon, future.set_result, 5)
            return await asyncio.gather(future, asyncio.sleep(0, 6))

        if loop.run_until_complete(use()) != [5, 6]:
            self.wrong.append("leaves a loop that is of no use")

    def judge(self):
        short = self.short
        if short.error is not None and not (short.refused and is_allowed(short.error)):
            self.wrong.append("".join(traceback.format_exception(short.error)))
        for told in short.told:
            error = told.get("exception") if isinstance(told, dict) else told
            if error is not None and not is_not_ours(error) and isinstance(error, SystemError):
                self.wrong.append(f"tells {told!r}")
        if short.error is None and not short.told and not short.lasting:
            if self.is_stuck:
                self.wrong.append("waits forever, and nobody is told")
            elif short.unmet:
                self.wrong.append(f"not as expected in line {short.unmet}")


# ---- in the process that has the library --------------------------------------------------------


def try_all(name, samples, first):
    library = ctypes.PyDLL(os.environ["PENSTOCK_SHORTAGE"])
    library.shortage_install()
    body = SCENES[name]
    logging.basicConfig(handlers=[Log(logging.WARNING)])
    gc.disable()
    KEPT.append(penstock.new_event_loop())
    for _ in range(2):  # what is made once is made
        if wrong := Trial(library, body, -1, False).run():
            sys.exit(f"without a shortage: {wrong}")
    Trial(library, body, 1_000_000, False).run()
    count = library.shortage_counted()
    gc.freeze()
    trials = [(number, lasting) for lasting in (0, 1) for number in range(count + 2)]
    if samples and samples < len(trials):
        trials = random.Random(f"{SEED} {name}").sample(trials, samples)
    print(len(trials), flush=True)
    for number, lasting in trials[first:]:
        print(json.dumps([number, lasting]), flush=True)
        trial = Trial(library, body, number, lasting)
        for what in trial.run():
            print(json.dumps(what), flush=True)
    os._exit(0)


# ---- and in the one that starts it --------------------------------------------------------------


def worker(name, samples, first):
    built, _ = library("shortage")
    environment = dict(os.environ, PENSTOCK_SHORTAGE=built, PYTHONFAULTHANDLER="1")
    environment["LD_PRELOAD"] = " ".join([built, os.environ.get("LD_PRELOAD", "")])
    options = os.environ.get("ASAN_OPTIONS", "")
    environment["ASAN_OPTIONS"] = f"{options}:verify_asan_link_order=0"
    code = f"from tests.faults import shortage; shortage.try_all({name!r}, {samples}, {first})"
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def wrong(name, samples=0):
    """What is wrong with which trial; samples=0 makes all trials that there are."""
    found = {}
    first = 0
    while True:
        done = worker(name, samples, first)
        total, *lines = done.stdout.splitlines() or ["0"]
        tried = None
        for line in map(json.loads, lines):
            if isinstance(line, list):
                first += 1
                tried = "from {} on" if line[1] else "{}"
                tried = tried.format(line[0])
            else:
                found.setdefault(tried, []).append(line)
        if done.returncode == 0:
            return int(total), found
        found.setdefault(tried, []).append(f"ends with {done.returncode}: {done.stderr}")
        if tried is None:
            return 0, found


def main():
    for name in sys.argv[1:] or SCENES:
        total, found = wrong(name)
        print(f"-- {name}: {total} trials, {len(found)} wrong", flush=True)
        for trial, whats in found.items():
            for what in whats:
                print(f"   {trial}: {what}", flush=True)


if __name__ == "__main__":
    main()
