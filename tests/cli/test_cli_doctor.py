"""`penstock doctor` on this machine: every line is a fact that can be checked here."""

import errno
import os
import platform
import resource
import subprocess
import sys

import penstock
import pytest


def doctor(*before: str, **env: str) -> tuple[dict[str, tuple[str, str]], int]:
    """Its findings and its exit status, in a process that `before` are Python's first words of."""
    run = subprocess.run(
        [sys.executable, *(before or ("-m", "penstock")), "doctor"],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        timeout=60,
    )
    assert run.stderr == ""
    width = 6
    findings = {}
    for line in run.stdout.splitlines():
        name, what = line[width:].split("  ", 1)
        findings[name.strip()] = (line[:width].strip(), what.strip())
    assert len(findings) >= 6
    return findings, run.returncode


def test_names_the_versions_and_the_limits() -> None:
    findings, _ = doctor()
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert findings["penstock"][1].startswith(penstock.__version__)
    assert platform.python_version() in findings["python"][1]
    assert platform.release() in findings["kernel"][1]
    assert f"{soft:,}" in findings["open files"][1] or soft == resource.RLIM_INFINITY
    assert "not active" in findings["install"][1]


def test_this_python_gets_the_native_task() -> None:
    mark, what = doctor(PENSTOCK_STOCK_TASK="")[0]["scheduler"]
    assert mark == "ok"
    assert what.startswith("native")


def test_the_stock_task_is_told_of() -> None:
    findings, status = doctor(PENSTOCK_STOCK_TASK="1")
    mark, what = findings["scheduler"]
    assert mark == "slow" and status == 1
    assert what == "the standard library's Task and Future: PENSTOCK_STOCK_TASK is set"


def test_exit_status_tells_whether_something_is_slow() -> None:
    findings, status = doctor(PYTHONASYNCIODEBUG="")
    assert status == any(mark == "slow" for mark, _ in findings.values())
    findings, status = doctor(PYTHONASYNCIODEBUG="1")
    assert findings["debug mode"][0] == "slow"
    assert status == 1


# io_uring_setup(2) fails for the whole process with the errno that the command line names.
REFUSED = """
import ctypes, os, runpy, struct, sys
error = int(sys.argv.pop(1))
steps = (0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000)
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit(77)
runpy.run_module("penstock", run_name="__main__")
"""


def test_the_backend_that_is_asked_for() -> None:
    assert doctor(PENSTOCK_BACKEND="")[0]["backend"] == ("ok", "epoll: the default")
    assert doctor(PENSTOCK_BACKEND="epoll")[0]["backend"][1] == "epoll: PENSTOCK_BACKEND is set"
    mark, what = doctor(PENSTOCK_BACKEND="uring")[0]["backend"]
    assert mark == "ok"
    # Where the kernel or the build has none, it says so.
    assert what == "uring: PENSTOCK_BACKEND is set" or what.startswith(
        ("epoll: io_uring is refused: io_uring_setup: ", "epoll: penstock was built without")
    )


def test_a_backend_that_there_is_not() -> None:
    findings, status = doctor(PENSTOCK_BACKEND="kqueue")
    what = "none: PENSTOCK_BACKEND is 'kqueue'; there are 'epoll' and 'uring'"
    assert findings["backend"] == ("slow", what)
    assert status == 1


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS", "ENOMEM", "EINVAL"])
def test_io_uring_that_is_refused(error: str) -> None:
    if not doctor(PENSTOCK_BACKEND="uring")[0]["backend"][1].startswith("uring"):
        pytest.skip("there is none here")
    number = getattr(errno, error)
    mark, what = doctor("-c", REFUSED, str(number), PENSTOCK_BACKEND="uring")[0]["backend"]
    assert mark == "ok"
    assert what.startswith(f"epoll: io_uring is refused: io_uring_setup: {os.strerror(number)}")


def test_takes_no_arguments() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "penstock", "doctor", "everything"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "takes no arguments" in run.stderr
