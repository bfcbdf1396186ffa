"""Every test here runs twice: the program on stock asyncio, and on penstock by `penstock run`."""

import resource
import subprocess
from collections.abc import Iterator

import pytest

from .local import EXAMPLES, OpenFiles, Run, examples


@pytest.fixture(params=["asyncio", "penstock"])
def runtime(request: pytest.FixtureRequest) -> list[str]:
    """The command that runs a program."""
    command: list[str] = {"asyncio": examples.ASYNCIO, "penstock": examples.PENSTOCK}[request.param]
    return command


@pytest.fixture
def run(runtime: list[str]) -> Run:
    """Runs one of the examples to its end, which must be a good one."""

    def run(program: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        process = subprocess.run(
            [*runtime, str(EXAMPLES / program), *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert process.returncode == 0, process.stderr
        return process

    return run


@pytest.fixture
def open_files() -> Iterator[OpenFiles]:
    """Raises the limit of open files, for this test and its children, to what is asked for."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def raise_to(wanted: int) -> None:
        soft, hard = before
        if resource.RLIM_INFINITY not in (soft, hard) and hard < wanted:
            pytest.skip(f"needs {wanted:,} open files, the hard limit (ulimit -Hn) is {hard:,}")
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

    yield raise_to
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
