"""What the programs need around them on loopback: ports, servers that run, clients, limits."""

import contextlib
import json
import os
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ASYNCIO = [sys.executable]
PENSTOCK = [sys.executable, "-m", "penstock", "run"]
SECONDS_TO_START = 30.0


class Answers(NamedTuple):
    seconds: float
    answers: dict[str, int]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def serving(
    runtime: list[str], program: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Runs a server until the block ends; whoever has not ended it by then sees it interrupted."""
    port = free_port()
    process = subprocess.Popen(
        [*runtime, str(HERE / program)],
        env={**os.environ, **environment, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        # No event tells this from outside: not every server says that it listens.
        while not listens("127.0.0.1", port):
            if process.poll() is not None:
                raise RuntimeError(f"{program} ended:\n{process.stdout.read().decode()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{program} does not listen")
            time.sleep(0.02)
        yield process, port
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS_TO_START)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(port: int, count: int, *authority: str) -> Answers:
    """That many HTTP clients at once, in a process of their own; with an authority, over TLS."""
    command = [*ASYNCIO, str(HERE / "_clients.py"), str(port), str(count), *authority]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.returncode != 0:
        raise RuntimeError(f"the clients failed:\n{run.stderr}")
    report = json.loads(run.stdout)
    return Answers(report["seconds"], report["answers"])


@contextlib.contextmanager
def sites(*certificates: str) -> Iterator[dict[str, str]]:
    """The scraper's servers: their URLs by what they do; with a right and a wrong one, over TLS."""
    with subprocess.Popen(
        [*ASYNCIO, str(HERE / "_sites.py"), *certificates],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        ports = process.stdout.readline().split()
        names = ("good", "slow", "reset", "failing", "wrong")
        scheme = "https" if certificates else "http"
        yield {n: f"{scheme}://127.0.0.1:{p}/" for n, p in zip(names, ports, strict=False)}
        process.stdin.close()


def debug(command: list[str], answers: list[str]) -> tuple[str, int]:
    """Runs a program on a terminal and types an answer at each of the debugger's prompts.

    Returns what the terminal shows and the exit status; a program that falls silent is killed.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        # A terminal as plain as it was before CPython 3.14: no colours, no editor of its own.
        plain = {"PYTHON_COLORS": "0", "PYTHON_BASIC_REPL": "1"}
        os.execve(command[0], command, os.environ | plain)
    shown, typed = b"", 0
    try:
        while True:
            if not select.select([terminal], [], [], SECONDS_TO_START)[0]:
                os.kill(pid, signal.SIGKILL)
                break
            try:
                chunk = os.read(terminal, 4096)
            except OSError:
                break
            shown += chunk
            prompts = shown.count(b"(Pdb) ")
            while typed < min(prompts, len(answers)):
                os.write(terminal, f"{answers[typed]}\n".encode())
                typed += 1
    finally:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return shown.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(status)


def raise_open_files() -> int:
    """Raises this process's limit of open files, and its children's, as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard
