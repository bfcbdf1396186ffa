"""Programs that end in all kinds of ways, each in a process of its own.

`ends(source)` runs one on asyncio and on penstock, plainly and in development mode (which has
PYTHONMALLOC=debug): the status must be the one that is asked for, the output the same, and penstock
complains of nothing that asyncio does not complain of. A program finds `new_loop()`, `run(main())`,
`connection()` and the modules that it needs; penstock is imported at the beginning, or `late`, for
the first loop.
"""

import os
import re
import subprocess
import sys
import textwrap
from typing import NamedTuple

import pytest

IMPORTS = {
    "asyncio": "from asyncio import SelectorEventLoop as new_loop",
    "penstock": "from penstock import new_event_loop as new_loop",
}
LATE_IMPORTS = {
    kind: f"def new_loop():\n    {line}\n    return new_loop()" for kind, line in IMPORTS.items()
}

PRELUDE = """
import asyncio, atexit, gc, os, signal, socket, ssl, subprocess, sys, threading, time, weakref

def run(main):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)

async def connection(protocol=asyncio.Protocol):
    near, far = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(protocol, sock=near)
    return transport, far
"""

# The interpreter can no longer import: asyncio fails too where it is asked for something so late,
# and is no oracle for what else is said.
TOO_LATE = "sys.meta_path is None"


class Ending(NamedTuple):
    status: int
    output: str
    complaints: set[str]


@pytest.fixture
def start(tmp_path):
    """Starts `source` in a new process on asyncio or penstock."""

    started = []

    def start(kind, source, *options, late=False):
        path = tmp_path / f"on_{kind}.py"
        imports = LATE_IMPORTS if late else IMPORTS
        path.write_text(imports[kind] + PRELUDE + textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, *options, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **_paths()},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            process.communicate()


@pytest.fixture
def finish():
    """What became of a process."""

    def finish(process):
        output, errors = process.communicate(timeout=60)
        return Ending(process.returncode, output, _complaints(errors))

    return finish


@pytest.fixture
def ends(start, finish, request):
    oracle = request.config.getoption("--loop") in (None, "asyncio")
    kinds = IMPORTS if oracle else ["penstock"]

    def ends(source, *, status=0, output="", late=False):
        modes = [(), ("-X", "dev")]
        started = {
            (kind, mode): start(kind, source, *mode, late=late) for kind in kinds for mode in modes
        }
        endings = {name: finish(process) for name, process in started.items()}
        for name, ending in endings.items():
            assert (name, ending.status, ending.output) == (name, status, output), ending.complaints
        for mode in modes if oracle else []:
            ours, theirs = (endings[kind, mode].complaints for kind in ("penstock", "asyncio"))
            if any(TOO_LATE in line for line in theirs):
                ours = {line for line in ours if line.startswith("Exception ignored")}
                theirs = set()
            assert ours <= theirs, mode

    return ends


def _paths():
    """A relative PYTHONPATH made to hold in whatever directory the program is."""
    path = os.environ.get("PYTHONPATH")
    if not path:
        return {}
    return {"PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in path.split(os.pathsep))}


def _complaints(errors):
    """The lines of stderr, but for frames, what objects look like, and what took its time."""
    lines = set()
    for line in errors.splitlines():
        if line.startswith((" ", "Traceback", "Object ", "Executing ")):
            continue
        shown = line
        while shown != (shown := re.sub(r"<[^<>]*>", "…", shown)):
            pass
        lines.add(re.sub(r"^\S+:\d+: (?=\w+Warning)", "", shown))
    return lines
