"""What the servers of a soak of HTTP serve: a request's path names it, and its query has the sizes.

Paths that it does not know are tests/http/hostile.py's application's.
"""

import asyncio
import contextlib
import hashlib
import threading
from pathlib import Path
from typing import Any

from tests.http import hostile

WSGI_THREADS = 4
NUMBERS = 250  # that a line of a head may have
HASTE = 0.1  # seconds, of the server whose deadlines are soon over


def sizes(scope: dict[str, Any]) -> list[int]:
    return [int(size) for size in scope["query_string"].split(b",") if size]


async def start(send, *headers: tuple[bytes, bytes], status: int = 200, **more: object) -> None:
    message = {"type": "http.response.start", "status": status, "headers": list(headers)}
    await send({**message, **more})


async def body(send, content: bytes = b"", more: bool = False) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": more})


async def pieces(receive):
    """Of a request's body; what there is of it, where the client has gone."""
    while (message := await receive())["type"] == "http.request":
        yield message["body"]
        if not message["more_body"]:
            return


class Application:
    def __init__(self, data: bytes, file: Path) -> None:
        self.data = data
        self.file = file  # which has the data
        self.meeting = threading.Barrier(WSGI_THREADS)  # of the threads of wsgi()

    async def __call__(self, scope, receive, send) -> None:
        """/echo is answered by _echo(), a WebSocket's by _echo_messages()."""
        name = scope["path"][1:]
        if scope["type"] == "websocket":
            await getattr(self, f"_{name}_messages", self._echo_messages)(scope, receive, send)
        else:
            await getattr(self, f"_{name}", hostile.app)(scope, receive, send)

    async def _echo(self, scope, receive, send) -> None:
        whole = b"".join([piece async for piece in pieces(receive)])
        await start(send)
        await body(send, whole)

    async def _mirror(self, scope, receive, send) -> None:
        """The same, as it comes."""
        await start(send)
        async for piece in pieces(receive):
            await body(send, piece, True)
        await body(send)

    async def _stream(self, scope, receive, send) -> None:
        size, step = sizes(scope)
        await start(send)
        for begin in range(0, size, step):
            await body(send, self.data[begin : min(begin + step, size)], True)
            if begin % 3 == 0:
                await asyncio.sleep(0)
        await body(send)

    async def _path(self, scope, receive, send) -> None:
        await start(send)
        await send({"type": "http.response.pathsend", "path": str(self.file)})

    async def _part(self, scope, receive, send) -> None:
        offset, count = sizes(scope)
        await start(send)
        with open(self.file, "rb") as file:
            await send(
                {
                    "type": "http.response.zerocopysend",
                    "file": file,
                    "offset": offset,
                    "count": count,
                    "more_body": True,
                }
            )
        await body(send, b"end")

    async def _told(self, scope, receive, send) -> None:
        """With what stands before and behind a response."""
        await send({"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]})
        await start(send, trailers=True)
        content = self.data[: sizes(scope)[0]]
        await body(send, content)
        digest = hashlib.sha256(content).hexdigest().encode()
        await send(
            {
                "type": "http.response.trailers",
                "headers": [(b"x-sum", digest)],
                "more_trailers": False,
            }
        )

    async def _limited(self, scope, receive, send) -> None:
        """Gives up what it waits for, and answers."""
        status = 200
        try:
            async with asyncio.timeout(sizes(scope)[0] / 10_000):
                async for _ in pieces(receive):
                    pass
                await receive()
        except TimeoutError:
            status = 503
        await start(send, status=status)
        await body(send, b"no time")

    async def _divided(self, scope, receive, send) -> None:
        """Waits for the client's end and for its own at once, as Starlette does."""
        async for _ in pieces(receive):
            pass
        gone = asyncio.ensure_future(receive())
        try:
            await start(send)
            for _ in range(sizes(scope)[0]):
                await body(send, b"0123456789", True)
                await asyncio.wait([gone], timeout=0.001)
            await body(send)
        finally:
            gone.cancel()
            await asyncio.wait([gone])

    async def _wait(self, scope, receive, send) -> None:
        """Not for ever: who has sent much behind this is not read from, and so not seen to go."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * HASTE):
                await hostile.app(scope, receive, send)

    async def _cancelled(self, scope, receive, send) -> None:
        asyncio.current_task().cancel()
        await receive()
        await asyncio.sleep(0)

    # ---- its WebSockets ---------------------------------------------------------------------

    async def _echo_messages(self, scope, receive, send) -> None:
        await receive()
        offered = scope["subprotocols"]
        await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
        while (message := await receive())["type"] == "websocket.receive":
            kind = "text" if message.get("text") is not None else "bytes"
            await send({"type": "websocket.send", kind: message[kind]})

    async def _flood_messages(self, scope, receive, send) -> None:
        count, size = sizes(scope)
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(count):
            await send({"type": "websocket.send", "bytes": self.data[:size]})
        await send({"type": "websocket.close", "code": 3000, "reason": "that is all"})

    async def _refuse_messages(self, scope, receive, send) -> None:
        await receive()
        if not sizes(scope):
            return await send({"type": "websocket.close"})
        denial = {"type": "websocket.http.response.start", "status": 418, "headers": []}
        await send(denial)
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async def _fail_messages(self, scope, receive, send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        raise hostile.Asked

    # ---- the application in threads ---------------------------------------------------------

    def wsgi(self, environ, start_response):
        path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
        if path == "/meet":
            self.meeting.wait()
        elif path == "/fails":
            raise hostile.Asked
        whole = environ["wsgi.input"].read()
        start_response("200 OK", [])
        if path == "/file":
            return environ["wsgi.file_wrapper"](open(self.file, "rb"))
        if path != "/stream":
            return [whole]
        return (self.data[at : at + 5000] for at in range(0, int(query.partition(",")[0]), 5000))
