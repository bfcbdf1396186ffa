"""An ASGI application behind the HTTP server that people run on that loop.

That is uvicorn, and on penstock its own: so here it is servers that are compared, each with what it
reads requests by where it is fastest. What a framework costs is the same on all of them.
"""

import asyncio
import importlib.util
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from .. import client, peers, serving
from ..process import measured, pin, started
from ..rounds import WAITS, Figure, Rounds, Table

FIGURES = {
    "rate": Figure("throughput", "requests/s", more_is_better=True),
    "cpu": Figure("server's CPU a request", "µs"),
    **WAITS,
}
BIG = b"x" * 10240
BROWSER = (
    "Host: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\nDNT: 1\r\nConnection: keep-alive\r\n"
    "Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
)
# The request, and what its response ends in.
CASES = {
    "hello": ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "Hello, world"),
    "hello to a browser": (f"GET / HTTP/1.1\r\n{BROWSER}\r\n", "Hello, world"),
    "a body of 10 KiB": ("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n", "x"),
    "ten chunks of 1 KiB": ("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", "x"),
    "10 KiB back and forth": (
        f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BIG)}\r\n\r\n"
        + BIG.decode(),
        "x",
    ),
}

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    path = scope["path"]
    body = {"/big": BIG, "/stream": b""}.get(path, b"Hello, world")
    if path == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
    headers = [(b"content-type", b"text/plain")]
    if path != "/stream":
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if path == "/stream":
        for _ in range(10):
            await send({"type": "http.response.body", "body": BIG[:1024], "more_body": True})
    await send({"type": "http.response.body", "body": body})


def server(peer: str) -> None:
    pin(0)
    # Named as TCP's, without which asyncio does not set TCP_NODELAY.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)

    async def on_penstock() -> None:
        import penstock

        await penstock.Server(app, lifespan="off", access_log=False).serve([listening])

    async def on_uvicorn() -> None:
        import uvicorn

        # "auto" takes httptools where that is installed.
        http = "h11" if peer == "asyncio" else "auto"
        config = uvicorn.Config(
            app, http=http, lifespan="off", log_level="warning", access_log=False
        )
        await uvicorn.Server(config).serve([listening])

    async def main() -> None:
        print(listening.getsockname()[1], flush=True)
        await (on_penstock() if peer.startswith("penstock") else on_uvicorn())
        await asyncio.sleep(0)

    peers.peer(peer).run(main)


def measure(rounds: Rounds) -> list[Table]:
    table = Table("HTTP: an ASGI application", FIGURES)
    seconds, questions = (0.05, 200) if rounds.quick else (0.5, 4000)

    def add(case: str, peer: str) -> None:
        request, answer = CASES[case]
        with started(server, peer=peer) as process:
            found = measured(
                client.requests,
                port=serving.port_of(process),
                pid=process.pid,
                request=request,
                answer=answer,
                seconds=seconds,
                questions=questions,
            )
        table.add(case, peer, found)

    if importlib.util.find_spec("uvicorn") is None:
        rounds = replace(rounds, peers=[each for each in rounds.peers if "penstock" in each])
    rounds.in_turns([table], list(CASES), add)
    return [table]
