"""Runs one of CPython's test modules in this process and reports on it, a JSON object a line.

Usage: worker.py LOOP MODULE FD. The ids of the tests to run come as a JSON list on standard input;
null only asks for their names. Reports go to FD, what the tests print where it always goes.

LOOP is `asyncio`, `tasks`, `penstock` or `quick`, which is penstock out of debug mode, where waits
need no futures: IsolatedAsyncioTestCase would switch that on.

With LOOP `tasks`, every name by which the test modules reach Task or Future means penstock's before
the module is imported; with `penstock` the loop's names do so as well. What stays as it is:
- classes that the tests name because they are pure Python (`tasks._PyTask`, `futures._PyFuture`);
- `test_utils.TestLoop` where a test drives its clock or its turns, since no real loop can be driven
  so, and what stands on it: the standard library's own transports and child watchers, over mocks.
  Those tests see penstock's Task and Future on a foreign loop.
"""

import asyncio
import asyncio.futures
import asyncio.tasks
import faulthandler
import gc
import importlib
import json
import os
import sys
import traceback
import unittest
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TextIO

SECONDS_A_TEST = 60.0


class Reporter(unittest.TestResult):
    """Tells when a test starts and how it ends, so that a crash leaves its name behind."""

    def __init__(self, reports: TextIO) -> None:
        super().__init__()
        self._reports = reports
        self._ended: dict[str, Any] | None = None

    def say(self, **report: Any) -> None:
        print(json.dumps(report), file=self._reports, flush=True)

    def startTest(self, test: unittest.TestCase) -> None:
        # What the last test has left to the collector warns in none that counts warnings: a child
        # whose own child still holds a pipe, for example, when wait() ended with the former.
        gc.collect()
        super().startTest(test)
        self.say(test=name(test), outcome="started")
        self._ended = {"outcome": "ok"}
        faulthandler.dump_traceback_later(SECONDS_A_TEST, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        # 3.12.1 ends tests that are skipped as a whole, without having started them.
        if self._ended is not None:
            self.say(test=name(test), **self._ended)
        self._ended = None
        super().stopTest(test)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self._end(test, "failed", traceback.format_exception(*err))

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self._end(test, "failed", traceback.format_exception(*err))

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        if err is not None:
            self._end(test, "failed", [f"{subtest}\n", *traceback.format_exception(*err)])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._end(test, "skipped", [reason])

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self._end(test, "failed", ["unexpected success\n"])

    def _end(self, test: unittest.TestCase, outcome: str, lines: list[str]) -> None:
        if self._ended is None:
            # setUpClass, setUpModule and their counterparts have no start and no end.
            self.say(test=name(test), outcome=outcome, detail="".join(lines))
            return
        detail = self._ended.get("detail", "") + "".join(lines)
        if self._ended["outcome"] == "failed":
            outcome = "failed"
        self._ended = {"outcome": outcome, "detail": detail}


def name(test: unittest.TestCase) -> str:
    return test.id().removeprefix("test.")


def use_tasks() -> None:
    import penstock

    for home, public, native in (
        (asyncio.tasks, "Task", "_CTask"),
        (asyncio.futures, "Future", "_CFuture"),
    ):
        ours = getattr(penstock, public)
        for module, attribute in ((asyncio, public), (home, public), (home, native)):
            setattr(module, attribute, ours)


def use_loop() -> None:
    import penstock

    penstock.install()
    utils = importlib.import_module("test.test_asyncio.utils")
    stock_test_loop = utils.TestCase.new_test_loop

    def new_test_loop(self: Any, gen: Any = None) -> Any:
        if gen is not None or drives_the_loop_by_hand(self):
            return stock_test_loop(self, gen)
        loop = penstock.new_event_loop()
        self.set_event_loop(loop)
        return loop

    utils.TestCase.new_test_loop = new_test_loop


# Their tests make the loop from asyncio's base class, which TestLoop derives from.
ON_BASE_LOOP = ("test_base_events", "test_pep492", "test_runners")
# Their tests of the standard library's transports and watchers call methods that only TestLoop has.
ON_TEST_LOOP = ("test_proactor_events", "test_selector_events", "test_unix_events")


def before_import(module_name: str) -> None:
    import penstock

    if module_name.rpartition(".")[2] in ON_BASE_LOOP:
        for module in (asyncio, asyncio.base_events):
            module.BaseEventLoop = penstock.Loop  # type: ignore[attr-defined,misc]


def drives_the_loop_by_hand(test: unittest.TestCase) -> bool:
    """Whether a test calls `_run_once`, or replaces methods, instead of running the loop."""
    return (
        type(test).__module__.rpartition(".")[2] in ON_TEST_LOOP
        or any(base.__name__ == "SubprocessTransportTests" for base in type(test).__mro__)
        or test._testMethodName in ("test_issue46672", "test_log_destroyed_pending_task")
    )


def after_import(module: ModuleType) -> None:
    """Where a test brings a selector for its loop, penstock's stands in for the one with epoll."""
    import penstock

    tests = getattr(module, "EPollEventLoopTests", None)
    if tests is not None:
        tests.create_event_loop = lambda self: penstock.new_event_loop()


def stay_out_of_debug_mode() -> None:
    def set_up(self: Any) -> None:
        self._asyncioRunner = asyncio.Runner(loop_factory=getattr(self, "loop_factory", None))

    unittest.IsolatedAsyncioTestCase._setupAsyncioRunner = set_up  # type: ignore[attr-defined]


def flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        else:
            yield test


def main() -> None:
    loop, module_name, descriptor = sys.argv[1:]
    if loop == "quick":
        stay_out_of_debug_mode()
        loop = "penstock"
    wanted: list[str] | None = json.load(sys.stdin)
    del sys.path[0]
    faulthandler.enable()
    reports = os.fdopen(int(descriptor), "w")

    from test import support

    # As regrtest has it: nothing that goes to the network.
    support.use_resources = {"cpu": None, "walltime": None}
    if loop != "asyncio":
        use_tasks()
    if loop == "penstock":
        use_loop()
        before_import(module_name)
    reporter = Reporter(reports)
    try:
        module = importlib.import_module(module_name)
    except unittest.SkipTest as skipped:  # the modules about Windows
        reporter.say(tests=[], reason=str(skipped))
        reporter.say(finished=True)
        return
    if loop == "penstock":
        after_import(module)

    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    if wanted is None:
        reporter.say(tests=[name(test) for test in flatten(suite)])
    else:
        chosen = frozenset(wanted)
        suite = unittest.TestSuite(test for test in flatten(suite) if name(test) in chosen)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            suite.run(reporter)
    reporter.say(finished=True)
    reports.close()


if __name__ == "__main__":
    main()
