"""Two workers under slowhttptest, in each of its four modes: what honest clients wait meanwhile.

python -m tests.http.slow [--seconds N] [--record]
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import penstock

from tests import figures_note
from tests.http.processes import command

CONNECTIONS = 1000
HONEST = 4  # clients, each with a request every PAUSE seconds
PAUSE = 0.01
MOST = 0.05  # seconds that 99 of 100 of their requests may take
NAME = "docs/design/017-slow-clients.md"
NOTE = Path(__file__).parents[2] / NAME

APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})
"""

# Words of slowhttptest, and what is asked for.
MODES = {
    "slow headers": (["-H", "-i", "1"], "/"),
    "slow body": (["-B", "-i", "1", "-s", "8192"], "/"),
    "range attack": (["-R", "-a", "10", "-b", "3000"], "/static/large"),
    "slow read": (
        ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
        "/static/large",
    ),
}


class Honest:
    """Clients that keep their connections, and come anew with every tenth request."""

    def __init__(self, port):
        self.seconds = []
        self._port = port
        self._is_over = False

    async def __aenter__(self):
        self._tasks = [asyncio.ensure_future(self._ask()) for _ in range(HONEST)]
        return self

    async def __aexit__(self, *exc):
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def _ask(self):
        while not self._is_over:
            begun = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            for _ in range(10):
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200 ")
                self.seconds.append(time.monotonic() - begun)
                await asyncio.sleep(PAUSE)
                begun = time.monotonic()
            writer.close()
            await writer.wait_closed()

    def percentile(self, share):
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def attack(port, mode, seconds):
    """Whether slowhttptest itself was answered all the time, on a connection of its own."""
    words, path = MODES[mode]
    process = await asyncio.create_subprocess_exec(
        *("slowhttptest", *words, "-c", str(CONNECTIONS), "-r", str(CONNECTIONS), "-v", "1"),
        *("-l", str(seconds), "-p", "2", "-u", f"http://127.0.0.1:{port}{path}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told = (await process.communicate())[0].decode()
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", told)
    states = re.findall(r"service available:\s*(YES|NO)", plain)
    assert states, plain
    return "NO" not in states


async def measure(seconds, modes=tuple(MODES)):
    """{mode: (Honest, whether slowhttptest was answered)}; "none" is without an attack."""
    found = {}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "static").mkdir()
        (place / "static" / "large").write_bytes(os.urandom(1 << 20))
        words = ("--workers", "2", "--static", f"/static={place / 'static'}")
        async with command(place, *words, app=APP) as served:
            port = await served.serves()
            for mode in ("none", *modes):
                async with Honest(port) as honest:
                    if mode == "none":
                        await asyncio.sleep(seconds)
                        is_answered = True
                    else:
                        is_answered = await attack(port, mode, seconds)
                found[mode] = honest, is_answered
            await served.stop()
    return found


def section(found, seconds):
    lines = [
        f"{CONNECTIONS} slow connections for {seconds} s against two workers; "
        f"{figures_note.machine()}. Of {HONEST} honest clients, in ms:",
        "",
        "| attack | requests | p50 | p99 | longest | its own probe is answered |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for mode, (honest, is_answered) in found.items():
        times = (honest.percentile(share) * 1000 for share in (0.5, 0.99, 1))
        lines.append(
            f"| {mode} | {len(honest.seconds):,} | {' | '.join(f'{ms:.1f}' for ms in times)} | "
            f"{'always' if is_answered else 'not always'} |"
        )
    return "\n".join([*lines, ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=20, help="that each attack takes")
    parser.add_argument("--record", action="store_true", help=f"write the figures into {NAME}")
    options = parser.parse_args()
    found = penstock.run(measure(options.seconds))
    text = section(found, options.seconds)
    print(text)
    if options.record:
        figures_note.put(NOTE, text)
    sys.exit(any(not ok or honest.percentile(0.99) > MOST for honest, ok in found.values()))


if __name__ == "__main__":
    main()
