"""Functions of this package that are called in processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import alone

ALONE = Path(__file__).with_name("alone.py")


class Failed(Exception):
    """A measurement has not come to its end."""


def command(function: Callable[..., object], arguments: dict[str, object]) -> list[str]:
    module = function.__module__.removeprefix(f"{__package__}.")
    words = [module, function.__name__, json.dumps(arguments)]
    return [sys.executable, "-P", str(ALONE), *words]


def measured(function: Callable[..., object], **arguments: object) -> dict[str, float]:
    """The figures that the function returns in a fresh process of this interpreter."""
    words = command(function, arguments)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=alone.SECONDS + 10)
    except subprocess.TimeoutExpired:
        raise Failed(f"{words[3:]}: no end") from None
    if done.returncode or not done.stdout:
        raise Failed(f"{words[3:]}: status {done.returncode}\n{done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def started(
    function: Callable[..., object], **arguments: object
) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs the function, with pipes to it and from it, until the block ends."""
    words = command(function, arguments)
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def pin(which: int) -> None:
    """Keep this process on one of the cores it may use, counted from 0 or back from -1."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[which]})
