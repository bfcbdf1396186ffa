"""Workers that are replaced again and again, under wrk and a hundred WebSockets: nothing is lost.

python -m tests.http.replacing [--rounds N] [--record]
"""

import argparse
import asyncio
import contextlib
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import penstock
import websockets

from tests import figures_note
from tests.http.processes import command, until

ROUNDS = 20
WEBSOCKETS = 100
NAME = "docs/design/014-workers.md"
NOTE = Path(__file__).parents[2] / NAME
WAYS = {
    "reloads": ("Reloaded: all workers are new", ()),
    "recycles": (r"has reached its limit \(lifetime\)", ("--limit-worker-lifetime", "2")),
}


class Clients:
    """Each sends a message and waits for its echo, and comes again when it is told 1012."""

    def __init__(self, url: str) -> None:
        self.counted: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url = url
        self._is_over = False

    async def run(self) -> None:
        while not self._is_over:
            try:
                async with websockets.connect(self._url, proxy=None) as client:
                    await self._converse(client)
            except websockets.ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else None
                self.counted["restarts"] += 1
                if code != 1012:
                    self.failures.append(f"a WebSocket ended with {code}")
            except (OSError, EOFError, websockets.WebSocketException) as error:
                self.failures.append(f"a WebSocket: {error!r}")

    async def _converse(self, client: websockets.ClientConnection) -> None:
        while not self._is_over:
            await client.send("here")
            assert await client.recv() == "here"
            self.counted["messages"] += 1
            await asyncio.sleep(0.05)

    async def end(self, tasks: list[asyncio.Task[None]]) -> None:
        self._is_over = True
        await asyncio.gather(*tasks)


async def replace(way: str, rounds: int) -> tuple[Counter[str], list[str]]:
    """What was answered, and what was lost, while workers were replaced so often."""
    pattern, words = WAYS[way]
    with tempfile.TemporaryDirectory() as directory:
        async with command(Path(directory), "--workers", "2", *words) as served:
            port = await served.serves()
            began = time.monotonic()
            clients = Clients(f"ws://127.0.0.1:{port}")
            tasks = [asyncio.ensure_future(clients.run()) for _ in range(WEBSOCKETS)]
            wrk = await asyncio.create_subprocess_exec(
                *("wrk", "-t1", "-c20", "-d3600", f"http://127.0.0.1:{port}/"),
                stdout=asyncio.subprocess.PIPE,
            )
            try:
                for number in range(1, rounds + 1):
                    goal = clients.counted["messages"] + WEBSOCKETS
                    await until(lambda goal=goal: clients.counted["messages"] >= goal)
                    if way == "reloads":
                        served.send(signal.SIGHUP)
                    await served.logged(pattern, number)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    wrk.send_signal(signal.SIGINT)
                told = (await wrk.communicate())[0].decode()
                await clients.end(tasks)
            clients.counted["seconds"] = round(time.monotonic() - began)
            await served.stop()
    clients.counted["requests"] = int(re.search(r"(\d+) requests in", told)[1])
    lost = re.findall(r"Socket errors: .*|Non-2xx.*", told)
    return clients.counted, clients.failures + lost


def section(found: dict[str, tuple[Counter[str], list[str]]], rounds: int) -> str:
    lines = [
        f"Two workers, {WEBSOCKETS} WebSockets and wrk on 20 connections; "
        f"{figures_note.machine()}:",
        "",
        "| | seconds | requests | messages | closed with 1012 | lost |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for way, (counted, failures) in found.items():
        cells = (counted[name] for name in ("seconds", "requests", "messages", "restarts"))
        lines.append(
            f"| {rounds} {way} | {' | '.join(f'{c:,}' for c in cells)} | {len(failures)} |"
        )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, usage=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--record", action="store_true", help=f"write the figures into {NAME}")
    options = parser.parse_args()
    found = {way: penstock.run(replace(way, options.rounds)) for way in WAYS}
    text = section(found, options.rounds)
    print(text)
    for _, failures in found.values():
        for each, times in Counter(failures).items():
            print(f"{each}, {times} times")
    if options.record:
        figures_note.put(NOTE, text)
    sys.exit(any(failures for _, failures in found.values()))


if __name__ == "__main__":
    main()
