"""Servers on loopback: each in a process of its own, which prints its port and serves until killed.

The server has one core, its client another, where there are two.
"""

import asyncio
import subprocess
from collections.abc import Callable
from typing import NamedTuple, cast

from . import client, peers
from .process import Failed, measured, pin, started
from .rounds import WAITS, Figure, Rounds, Table

FIGURES = {
    "rate": Figure("throughput", "messages/s", more_is_better=True),
    "cpu": Figure("server's CPU a message", "µs"),
    **WAITS,
}
SIZES = {1024: "1 KiB", 65536: "64 KiB"}


class Case(NamedTuple):
    api: str  # the server's words, which name the row
    size: int  # of a message

    def __str__(self) -> str:
        return f"{self.api}, {SIZES[self.size]}" if self.api else SIZES[self.size]


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are not instances of it.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def forever(server: asyncio.Server) -> None:
    """It serves already, and rloop 0.5 aborts where serve_forever() is called as well."""
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().create_future()
    server.close()


def serve(peer: str, main: peers.Main[None]) -> None:
    pin(0)
    peers.peer(peer).run(main)


def measure(
    rounds: Rounds,
    table: Table,
    server: Callable[..., None],
    cases: list[Case],
    kind: str = "stream",
    certificate: str = "",
) -> None:
    """Rows for each case: `server(peer, api)` echoes what `kind` of connection brings it."""
    secret = {"certificate": certificate} if certificate else {}
    seconds, questions = (0.05, 200) if rounds.quick else (0.5, 4000)

    def add(case: Case, peer: str) -> None:
        with started(server, peer=peer, api=case.api, **secret) as process:
            port = port_of(process)
            found = measured(
                client.load,
                port=port,
                pid=process.pid,
                kind=kind,
                size=case.size,
                seconds=seconds,
                questions=questions,
                **secret,
            )
        table.add(str(case), peer, found)

    rounds.in_turns([table], cases, add)


def port_of(process: "subprocess.Popen[str]") -> int:
    assert process.stdout and process.stderr
    line = process.stdout.readline()
    if not line:
        raise Failed(f"the server has not started\n{process.stderr.read()}")
    return int(line)
