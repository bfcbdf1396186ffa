"""Runs CPython's test modules, each in its own process, and holds them against the left-out list.

A test that crashes or hangs takes its process along; the rest of its module then goes on in a new
one, so that one such test hides no other.
"""

import concurrent.futures
import contextlib
import fnmatch
import importlib
import importlib.util
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import left_out

HERE = Path(__file__).parent
LEFT_OUT = HERE / "left_out.txt"

PACKAGE = "test.test_asyncio"
BESIDES = ("test.test_context",)

# Run out of debug mode as well, where waits are native.
QUICK = (
    "test_locks",
    "test_queues",
    "test_streams",
    "test_taskgroups",
    "test_timeouts",
    "test_waitfor",
)

AT_A_TIME = 2
SECONDS_A_MODULE = 300.0
MOST_RESTARTS = 25


@dataclass
class Report:
    """How one module went: what each test came to, and what is wrong with the whole."""

    module: str
    outcomes: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(1 for value in self.outcomes.values() if value == outcome)

    def failures(self) -> list[str]:
        bad = ("failed", "crash", "hang")
        return [test for test, outcome in self.outcomes.items() if outcome in bad]


def why_unavailable() -> str | None:
    """Why CPython's tests can't be run with this interpreter, if so."""
    try:
        found = importlib.util.find_spec("test.test_asyncio.utils")
    except ModuleNotFoundError:
        found = None
    if found is not None:
        return None
    return (
        f"Python {sys.version_info[0]}.{sys.version_info[1]} here comes without its own tests"
        " (Debian: libpython3-testsuite)"
    )


def modules(patterns: Iterable[str] = ()) -> list[str]:
    """All that this Python has of asyncio's tests, or those among them that a pattern names."""
    if why_unavailable() is not None:
        return []
    package = importlib.import_module(PACKAGE)
    areas = sorted(found.name for found in pkgutil.iter_modules(package.__path__))
    present = [f"{PACKAGE}.{area}" for area in areas if area.startswith("test_")]
    present.extend(BESIDES)
    wanted = [f"*{pattern.removeprefix('test.')}" for pattern in patterns]
    if not wanted:
        return present
    return [m for m in present if any(fnmatch.fnmatchcase(m, pattern) for pattern in wanted)]


def collect(module: str, loop: str = "penstock") -> list[str]:
    """The ids of a module's tests, as unittest finds them."""
    lines, log, status = _work(module, loop, None)
    if not lines or "finished" not in lines[-1]:
        raise ImportError(f"{module} could not be imported (status {status}):\n{log}")
    return list(lines[0]["tests"])


def run(module: str, loop: str, only: str | None = None) -> Report:
    """Run a module with loop `asyncio`, `penstock` or `quick`; `only` is a glob of test ids."""
    report = Report(module)
    try:
        everything = collect(module, loop)
    except ImportError as failed:
        report.problems.append(str(failed))
        return report
    prefix = module.removeprefix("test.")
    entries = [
        entry
        for entry in left_out.read(LEFT_OUT)
        if fnmatch.fnmatchcase(prefix, ".".join(entry.pattern.split(".")[: prefix.count(".") + 1]))
        and (loop in ("penstock", "quick") or entry.way == "machine")
    ]
    chosen = [test for test in everything if only is None or fnmatch.fnmatchcase(test, only)]
    ways = {test: {entry.way for entry in entries if entry.covers(test)} for test in chosen}
    for entry in entries:
        if not any(entry.covers(test) for test in everything):
            report.problems.append(f"left out, but there is no such test: {entry.pattern}")

    _run_tests([test for test in chosen if not ways[test]], loop, report)
    still_failing = [test for test in chosen if ways[test] and ways[test] <= {"fails", "stock"}]
    _check_that_they_fail(still_failing, loop, report)
    for test in chosen:
        if ways[test]:
            report.outcomes[test] = "left out"
    _run_on_the_stock_loop([test for test in chosen if ways[test] == {"stock"}], report)
    for test in report.failures():
        report.problems.append(f"{report.outcomes[test]}: {test}\n{report.details.get(test, '')}")
    return report


def run_all(modules: Iterable[str], loop: str, only: str | None = None) -> Iterator[Report]:
    """The reports on several modules, in this order; two run at a time."""
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        yield from pool.map(lambda module: run(module, loop, only), modules)


def _check_that_they_fail(tests: list[str], loop: str, report: Report) -> None:
    trial = Report(report.module)
    _run_tests(tests, loop, trial)
    for test in tests:
        if trial.outcomes.get(test) == "ok":
            report.problems.append(f"left out, but it passes: {test}")
        elif trial.outcomes.get(test) != "failed":
            outcome = trial.outcomes.get(test, "not run")
            report.problems.append(f"left out as one that fails, but: {outcome}: {test}")


def _run_on_the_stock_loop(tests: list[str], report: Report) -> None:
    trial = Report(report.module)
    _run_tests(tests, "tasks", trial)
    report.problems.extend(trial.problems)
    report.details.update(trial.details)
    for test, outcome in trial.outcomes.items():
        report.outcomes[test] = "stock loop" if outcome == "ok" else outcome


def _run_tests(tests: list[str], loop: str, report: Report) -> None:
    left = list(tests)
    for _ in range(MOST_RESTARTS):
        if not left:
            return
        lines, log, status = _work(report.module, loop, left)
        last = None
        for line in lines:
            if "outcome" not in line:
                continue
            last = line["test"]
            report.outcomes[last] = line["outcome"]
            if "detail" in line:
                report.details[last] = line["detail"]
        left = [test for test in left if test not in report.outcomes]
        if lines and "finished" in lines[-1]:
            report.problems.extend(f"not run: {test}" for test in left)
            return
        if last is None or report.outcomes[last] != "started":
            report.problems.append(f"{report.module} ended early (status {status}):\n{log}")
            return
        hung = status is None or "Timeout (" in log
        report.outcomes[last] = "hang" if hung else "crash"
        report.details[last] = f"status {status}\n{log}"
    report.problems.append(f"{report.module}: more than {MOST_RESTARTS} tests crash or hang")


def _work(module: str, loop: str, tests: list[str] | None) -> tuple[list[dict], str, int | None]:
    """One process: its reports, the end of what it printed, its exit status (None: timed out)."""
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryDirectory() as directory:
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), loop, module, str(writing)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[writing],
            cwd=directory,
            env=_environment(),
            text=True,
            start_new_session=True,
        )
        os.close(writing)
        with os.fdopen(reading) as pipe:
            # On a thread, since a worker that nobody reads from blocks in its pipe.
            received: list[str] = []
            reader = threading.Thread(target=lambda: received.extend(pipe))
            reader.start()
            status: int | None = None
            try:
                process.communicate(json.dumps(tests), timeout=SECONDS_A_MODULE)
                status = process.returncode
            except subprocess.TimeoutExpired:
                pass
            finally:
                _end_session(process)
            reader.join()
        log.seek(0)
        return [json.loads(line) for line in received], log.read()[-8000:], status


def _end_session(process: subprocess.Popen[str]) -> None:
    """Ends the worker and what its tests have left running."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    """This process's, without debug mode, for a worker with another working directory."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHONASYNCIO")}
    path = environment.get("PYTHONPATH")
    if path:
        parts = (os.path.abspath(part) for part in path.split(os.pathsep))
        environment["PYTHONPATH"] = os.pathsep.join(parts)
    return environment
