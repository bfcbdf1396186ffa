"""WSGI applications (PEP 3333) as ASGI 3 callables.

A call of the application runs in a thread of a pool, from its first line to its iterable's close().
The loop's side of it, `_Call.pump()`, sends what the thread has put out and receives what it asks
for. What both touch is guarded by `_Call.changed`, on which only the thread ever waits:

- a read of wsgi.input blocks the thread until bytes come;
- a thread that is far ahead of its client waits (`_MOST_AHEAD`);
- once the client has gone, or the server has given the call up, the next read or block of the
  response ends the iteration.

Whether a request gets a thread before all of its body is there: wsgi_body.py.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from .wsgi_body import SHORT, Bodies, Input, Spool
from .wsgi_environ import environ_of

_MOST_AHEAD = 64 * 1024  # bytes of a response that wait for the client; then the thread does

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Threads:
    """At most so many, started when there is work for them.

    They are daemons: a call that never returns does not keep the process from ending.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._started = 0
        self._busy = 0
        self._counting = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job`, which raises nothing, when there is a thread for it."""
        with self._counting:
            self._busy += 1
            if self._busy > self._started < self._most:
                self._started += 1
                name = f"penstock-wsgi-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._jobs.put(job)

    def stop(self) -> None:
        """Let the threads end with what they do now."""
        with self._counting:
            for _ in range(self._started):
                self._jobs.put(None)
            self._started = 0

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # and with it the request, while there is no other
            with self._counting:
                self._busy -= 1


class WsgiAdapter:
    """`app` as an ASGI 3 callable, which runs at most `threads` requests at a time."""

    def __init__(
        self, app: Any, threads: int, most_kept: int, *, multiprocess: bool = False
    ) -> None:
        self._app = app
        self._threads = Threads(max(threads, 1))
        self._bodies = Bodies(threads, most_kept)
        self._multiprocess = multiprocess

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; take part in the lifespan; refuse WebSockets, which WSGI hasn't."""
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        if scope["type"] == "websocket":
            await receive()
            return await send({"type": "websocket.close"})
        environ = environ_of(scope, self._multiprocess)
        call = _Call(self._app, environ, self._bodies)
        try:
            if not await call.receive_body(receive):
                return
            self._threads.submit(call.run_in(contextvars.copy_context()))
            await call.pump(receive, send)
        finally:
            call.release()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._threads.stop()
                return await send({"type": "lifespan.shutdown.complete"})
            await send({"type": "lifespan.startup.complete"})


# ---- a call ----------------------------------------------------------------------------------


class _Ended(Exception):
    """Nobody takes the response any more. Raised where the iteration is, not into it."""


class _Call:
    """One request, between the thread that answers it and the loop."""

    def __init__(self, app: Any, environ: dict[str, Any], bodies: Bodies) -> None:
        self._app = app
        self._environ = environ
        self._loop = asyncio.get_running_loop()
        self._spool = Spool()  # the loop's until there is a thread, and then that's
        self._kept = 0  # bytes in its file
        self._bodies = bodies
        self._may_wait = False  # the thread, for the body
        self._has_thread = False
        # The loop's, in which the pump waits for news.
        self._news: asyncio.Future[None] | None = None
        # The thread's.
        self._head: Message | None = None  # from start_response(), until it is put out
        self._is_started = False  # start_response() has been called
        self._left: int | None = None  # bytes that Content-Length still promises
        self._is_complete = False  # the last block has been put out
        # Both's.
        self.changed = threading.Condition(threading.Lock())
        self._messages: collections.deque[Message] = collections.deque()
        self._ahead = 0  # bytes in messages
        self._wants_body = False
        self._pieces: list[bytes] = []
        self._is_body_over = False
        self._is_told = False  # the loop is, of what has changed
        self._is_over = False  # the thread has nothing more to say
        self._failure: BaseException | None = None  # of the application
        self._refusal: BaseException | None = None  # of what was sent; then nobody listens

    # -- the loop's side --

    async def receive_body(self, receive: Receive) -> bool:
        """Have what is not waited for in a thread. False where the client has gone."""
        length = self._environ.get("CONTENT_LENGTH")
        if (length is None and "HTTP_TRANSFER_ENCODING" not in self._environ) or length == "0":
            self._is_body_over = True
            return True
        is_short = length is not None and length.isdecimal() and int(length) <= SHORT
        # "Expect: 100-continue" leaves it to the application whether it wants the body.
        if not is_short or "HTTP_EXPECT" in self._environ:
            self._may_wait = await self._bodies.may_wait(at_once=True)
        while not self._may_wait and not self._is_body_over:
            if self._spool.is_full or (self._spool.is_in_file and self._bodies.is_full):
                self._may_wait = await self._bodies.may_wait(at_once=False)
                break
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            self._spool.add(message.get("body", b""))
            self._is_body_over = not message.get("more_body", False)
            self._bodies.kept += self._spool.in_file - self._kept
            self._kept = self._spool.in_file
        return True

    def release(self) -> None:
        """Let others have what it has taken."""
        self._waits_no_more()
        self._bodies.kept -= self._kept
        if not self._has_thread:
            self._spool.close()

    def _waits_no_more(self) -> None:
        if self._may_wait:
            self._may_wait = False
            self._bodies.release()

    def _add_body(self, message: Message) -> None:
        if message.get("body"):
            self._pieces.append(message["body"])
        if not message.get("more_body", False):
            self._is_body_over = True
            self._waits_no_more()

    async def pump(self, receive: Receive, send: Send) -> None:
        """Send and receive for the thread until it is done. Raises what the application does."""
        try:
            while not await self._exchange(receive, send):
                self._news = self._loop.create_future()
                try:
                    await self._news
                finally:
                    self._news = None
        except BaseException as error:
            self._refuse(error)
            raise
        if self._failure is not None:
            try:
                raise self._failure
            finally:
                self._failure = None  # whose traceback holds this frame
        if self._refusal is not None and not isinstance(self._refusal, OSError):
            raise self._refusal

    async def _exchange(self, receive: Receive, send: Send) -> bool:
        """Do what the thread has asked for. True when it is over."""
        while True:
            with self.changed:
                messages = list(self._messages)
                self._messages.clear()
                wants_body, is_over = self._wants_body, self._is_over
                self._is_told = False
            for message in messages:
                await self._send(send, message)
            if wants_body:
                await self._receive(receive)
            elif not messages:
                return is_over

    async def _send(self, send: Send, message: Message) -> None:
        if self._refusal is not None:
            return
        try:
            await send(message)
        except Exception as error:
            # The thread has to hear of it, and to end, before this call does.
            self._refuse(error)
        with self.changed:
            self._ahead -= len(message.get("body", b""))
            self.changed.notify()

    async def _receive(self, receive: Receive) -> None:
        message = await receive()
        with self.changed:
            self._wants_body = False
            if message["type"] == "http.disconnect":
                self._refusal = ConnectionResetError("the client has disconnected")
            else:
                self._add_body(message)
            self.changed.notify()

    def _refuse(self, error: BaseException) -> None:
        with self.changed:
            if self._refusal is None:
                self._refusal = error
            self.changed.notify()

    def _on_news(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    # -- the thread's side --

    def run_in(self, context: contextvars.Context) -> Callable[[], None]:
        """What the thread has to do."""
        self._has_thread = True
        return lambda: context.run(self._run)

    def _run(self) -> None:
        try:
            if self._refusal is None:
                self._answer()
        except _Ended:
            pass
        except BaseException as error:
            self._failure = error
        self._spool.close()
        with self.changed:
            self._is_over = True
            self._tell()

    def _answer(self) -> None:
        self._environ["wsgi.input"] = Input(self._next_piece)
        result = self._app(self._environ, self._start_response)
        try:
            self._put_all(result)
            if not self._is_complete:
                self._put(b"", is_last=True)
        finally:
            if hasattr(result, "close"):
                result.close()

    def _put_all(self, result: Iterable[bytes]) -> None:
        # PEP 3333: of an iterable with one element the length is that of the element.
        is_single = isinstance(result, list | tuple) and len(result) == 1
        for block in result:
            if not self._is_started:
                raise RuntimeError("the application yields before it calls start_response()")
            if block or is_single:
                self._put(block, is_last=is_single)
            # A response to HEAD has no more than a head.
            if self._is_complete or (block and self._environ["REQUEST_METHOD"] == "HEAD"):
                return

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self._is_started and self._head is None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self._is_started:
            raise RuntimeError("start_response() is called again, and without exc_info")
        number = status[:3]
        if not number.isdecimal() or (len(status) > 3 and status[3] != " "):
            raise ValueError(f"a status reads '200 OK', not {status!r}")
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._left = None
        for name, value in pairs:
            if name.lower() == b"content-length" and value.isdigit():
                self._left = int(value)
        self._head = {"type": "http.response.start", "status": int(number), "headers": pairs}
        self._is_started = True
        return self._write

    def _write(self, data: bytes) -> None:
        """What start_response() returns: for applications older than the iteration."""
        if data:
            try:
                self._put(data)
            except _Ended:
                raise ConnectionResetError("the client has disconnected") from None

    def _put(self, block: bytes, *, is_last: bool = False) -> None:
        """Put out a block of the response, behind the head where that is still to come."""
        if not isinstance(block, bytes):
            raise TypeError(f"a block of a response has to be bytes, not {type(block).__name__}")
        if not self._is_started:
            raise RuntimeError("the application returns without calling start_response()")
        if self._left is not None:
            self._left -= len(block)
            # A client that has all of it need not wait for what the application still does.
            is_last = is_last or (self._left <= 0 and bool(block))
        with self.changed:
            if self._refusal is not None:
                raise _Ended
            if self._head is not None:
                self._messages.append(self._head)
                self._head = None
            self._messages.append(
                {"type": "http.response.body", "body": block, "more_body": not is_last}
            )
            self._is_complete = is_last
            self._ahead += len(block)
            self._tell()
            while self._ahead > _MOST_AHEAD and self._refusal is None and not is_last:
                self.changed.wait()

    def _next_piece(self) -> bytes:
        """More of the request's body, once it comes; b"" at its end."""
        if piece := self._spool.take():
            return piece
        with self.changed:
            while not self._pieces and not self._is_body_over:
                if self._refusal is not None:
                    raise ConnectionResetError("the client has disconnected")
                if not self._wants_body:
                    self._wants_body = True
                    self._tell()
                self.changed.wait()
            pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _tell(self) -> None:
        """Have the pump look, once; `changed` is held."""
        if self._is_told:
            return
        self._is_told = True
        try:
            self._loop.call_soon_threadsafe(self._on_news)
        except RuntimeError:
            # The loop has been closed before the thread was done.
            self._refusal = self._refusal or ConnectionResetError("the server has ended")
