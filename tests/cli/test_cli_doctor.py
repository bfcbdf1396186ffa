"""`penstock doctor` on this machine: every line is a fact that can be checked here."""

import os
import platform
import resource
import subprocess
import sys

import penstock


def doctor(**env: str) -> tuple[dict[str, tuple[str, str]], int]:
    run = subprocess.run(
        [sys.executable, "-m", "penstock", "doctor"],
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


def test_takes_no_arguments() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "penstock", "doctor", "everything"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "takes no arguments" in run.stderr
