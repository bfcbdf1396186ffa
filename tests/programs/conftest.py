"""Every test here runs twice: the program on stock asyncio, and on penstock by `penstock run`."""

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import services
from .local import EXAMPLES, OpenFiles, Run, Serve, examples

WATCHED = str(Path(__file__).with_name("watched.py"))


@pytest.fixture(params=["asyncio", "penstock"])
def runtime(request: pytest.FixtureRequest) -> list[str]:
    """The command that runs a program."""
    command: list[str] = {"asyncio": examples.ASYNCIO, "penstock": examples.PENSTOCK}[request.param]
    return command


@pytest.fixture
def run(runtime: list[str], tmp_path: Path) -> Run:
    """Runs one of the examples to its end, which must be a good one: it leaves nothing behind.

    Whatever it does not close, ResourceWarnings tell on its standard error.
    """
    left_behind = tmp_path / "left_behind"

    def run(
        program: str, *words: str, stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        process = subprocess.run(
            [*runtime, WATCHED, str(EXAMPLES / program), *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "LEFT_BEHIND": str(left_behind),
                "PYTHONWARNINGS": "always::ResourceWarning",
                **environment,
            },
        )
        assert process.returncode == 0, process.stderr
        assert left_behind.read_text() == ""
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


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Sees to it that a service runs, until the tests are done; skips the test if it can't."""
    with services.session() as serve:
        yield serve
