#!/usr/bin/env python3
"""What a request of aiohttp's client consists of, by the instructions that callgrind counts.

    .venv/bin/pip install aiohttp uvloop
    .venv/bin/python benchmarks/client.py [--record]

Each row of http_client.py runs on each loop against a small server in a process of its own, of two
lengths: the difference is the requests alone. --record writes the table into
docs/design/015-client.md. The kernel's part is not counted; beside it stand the system calls.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

from http_client import ROWS
from report import markdown, put_section

HERE = Path(__file__).resolve().parent
NOTE = HERE.parent / "docs" / "design" / "015-client.md"
LOOPS = ("uvloop", "penstock")
LENGTHS = (200, 600)
EXTENSIONS = {"uvloop": "/uvloop/", "penstock": "/penstock/"}
SERVER = """
import asyncio

HEAD = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 13\\r\\n\\r\\n"

class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(HEAD + b"Hello, world!")

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def by_object(profile: str) -> Counter[str]:
    """The instructions of each file of machine code, by a profile of callgrind."""
    counts: Counter[str] = Counter()
    names: dict[str, str] = {}
    where, is_of_call = "", False
    for line in profile.splitlines():
        if found := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?$", line):
            callee, number, name = found.groups()
            if name is not None:
                names[number] = name
            if not callee:
                where = names[number]
        elif line.startswith("calls="):
            is_of_call = True  # the next line is of what was called, which has lines of its own
        elif re.match(r"[\d+*-]", line):
            if not is_of_call:
                counts[where] += int(line.split()[1])
            is_of_call = False
    return counts


def run(loop: str, row: str, count: int, port: int, *tool: str) -> None:
    program = [sys.executable, str(HERE / "http_client.py"), loop, row, str(count)]
    subprocess.run(
        [*tool, *program, f"http://127.0.0.1:{port}/"], check=True, env={"PYTHONHASHSEED": "0"}
    )


def counted(loop: str, row: str, port: int) -> Counter[str]:
    """Instructions of a request, by the file that they are in."""
    found = []
    for length in LENGTHS:
        with tempfile.NamedTemporaryFile("r") as profile:
            tool = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={profile.name}", "-q")
            run(loop, row, length, port, *tool)
            found.append(by_object(profile.read()))
    found[1].subtract(found[0])
    return Counter({name: count // (LENGTHS[1] - LENGTHS[0]) for name, count in found[1].items()})


def calls(loop: str, row: str, port: int) -> float:
    """System calls of a request."""
    found = []
    for length in LENGTHS:
        with tempfile.NamedTemporaryFile("r") as trace:
            run(loop, row, length, port, "strace", "-f", "-c", "-o", trace.name)
            lines = [line.split() for line in trace]
            found.append(sum(int(line[3]) for line in lines if is_call(line)))
    return (found[1] - found[0]) / (LENGTHS[1] - LENGTHS[0])


def is_call(line: list[str]) -> bool:
    return len(line) > 4 and line[3].isdigit() and line[-1] not in ("total", "futex")


def line(row: str, loop: str, port: int) -> list[str]:
    counts = counted(loop, row, port)
    own = sum(count for name, count in counts.items() if EXTENSIONS[loop] in name)
    numbers = [f"{counts.total() / 1000:.1f}", f"{own / 1000:.1f}"]
    return [row, loop, *numbers, f"{calls(loop, row, port):.1f}"]


def section() -> str:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        rows = [line(row, loop, port) for row in ROWS for loop in LOOPS]
    finally:
        server.terminate()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
    titles = ["", "loop", "instructions, thousands", "of them the loop's", "system calls"]
    facts = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "uvloop"))
    return "\n".join(
        [
            f"A request, of {LENGTHS[1] - LENGTHS[0]:,}: "
            f"CPython {platform.python_version()}, {facts}.",
            "",
            *markdown(titles, rows),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--record", action="store_true", help=f"write the table into {NOTE.name}")
    options = parser.parse_args()
    table = section()
    print(table)
    if options.record:
        NOTE.write_text(put_section(NOTE.read_text(), table))


if __name__ == "__main__":
    main()
