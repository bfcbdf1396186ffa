"""`penstock serve` as a process, and clients that count what they lose."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

DEADLINE = 60  # seconds for anything to happen, on a machine that has other things to do

APP = """
import asyncio, itertools, os, time

VERSION = "1"

async def echo(scope, receive, send):
    await receive()
    await asyncio.sleep(float(scope["query_string"] or 0))
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        return await echo(scope, receive, send)
    path = scope["path"]
    if path == "/slow":
        await asyncio.sleep(float(scope["query_string"]))
    elif path == "/block":
        print("hangs", flush=True)
        time.sleep(float(scope["query_string"]))
    elif path == "/stuck":
        print("hangs", flush=True)
        max(itertools.repeat(0))  # in C, where no handler of Python's is called
    elif path == "/stubborn":
        print("hangs", flush=True)
        while True:
            try:
                await asyncio.sleep(float(scope["query_string"]))
            except asyncio.CancelledError:
                pass
    elif path == "/grow":
        global ballast
        ballast = bytearray(os.urandom(int(scope["query_string"])))
    elif path == "/exit":
        os._exit(7)
    body = f"{VERSION} {os.getpid()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


async def until(found, seconds=DEADLINE):
    """What `found()` returns, once that is true."""
    end = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < end, "nothing came of it in time"
        await asyncio.sleep(0.02)
    return result


def members(session):
    """The processes of a session, without those that only wait to be reaped."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry))
    return found


class Command:
    """A server in a directory of its own, with the leader of its session as the supervisor."""

    def __init__(self, directory, *words, app=APP, port="0", before=(), pass_fds=(), **environment):
        self.directory = directory
        self.app = directory / "served.py"
        if app is not None:
            self.write(app)
        self._log = directory / "log"
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment}
        for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"):
            if name not in environment:
                environment.pop(name, None)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *before,
                    *("-m", "penstock", "serve", "served:app", "--no-access-log"),
                    # Clients that share a busy machine may be late with their next request.
                    *("--timeout-drain", "20"),
                    *(("--port", port) if port is not None else ()),
                    *words,
                ],
                cwd=directory,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    def write(self, text):
        """Replace the application, as an editor does."""
        new = self.directory / "served.new"
        new.write_text(text)
        new.replace(self.app)

    @property
    def log(self):
        return self._log.read_text()

    async def logged(self, pattern, times=1):
        """The matches of a pattern, once there are so many."""

        def found():
            matches = re.findall(pattern, self.log)
            if len(matches) >= times:
                return matches
            assert self.process.poll() is None, self.log
            return None

        try:
            return await until(found)
        except AssertionError:
            print(self.log)
            raise

    async def serves(self):
        """Its port, once it accepts."""
        found = await self.logged(r"penstock serves on https?://127\.0\.0\.1:(\d+)")
        self.port = int(found[-1])
        return self.port

    def send(self, number):
        self.process.send_signal(number)

    @property
    def workers(self):
        return sorted(set(members(self.process.pid)) - {self.process.pid})

    async def ended(self):
        """Its exit status; nothing of it is left."""
        await until(lambda: self.process.poll() is not None)
        await until(lambda: not members(self.process.pid))
        return self.process.returncode

    async def stop(self, number=signal.SIGTERM):
        self.send(number)
        return await self.ended()

    def kill(self):
        for process in members(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


@contextlib.asynccontextmanager
async def command(directory, *words, **options):
    """A server that has ended, with all of its processes, when this is left."""
    started = Command(directory, *words, **options)
    try:
        yield started
    except BaseException:
        print(started.log)
        raise
    finally:
        started.kill()


async def request(port, path="/", tls=None):
    """The body, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return body.decode()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Load:
    """Clients that ask all the time, on connections that they keep; each failure is counted.

    None of them ever tries again: what a server loses shows.
    """

    def __init__(self, port, clients=8, tls=None, per_connection=50):
        self.answers = Counter()  # by body
        self.failures = []
        self.connections = 0
        self._port = port
        self._clients = clients
        self._tls = tls
        self._per_connection = per_connection
        self._is_over = False

    async def __aenter__(self):
        self._tasks = [asyncio.ensure_future(self._ask()) for _ in range(self._clients)]
        return self

    async def __aexit__(self, *exc):
        self._is_over = True
        await asyncio.gather(*self._tasks)

    @property
    def total(self):
        return self.answers.total()

    async def goes_on(self, answers=200):
        """Wait for so many more."""
        goal = self.total + answers
        await until(lambda: self.total >= goal or self.failures)

    async def _ask(self):
        while not self._is_over:
            try:
                await self._connection()
            except (OSError, EOFError) as error:
                self.failures.append(repr(error))
                await asyncio.sleep(0.1)

    async def _connection(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        self.connections += 1
        try:
            for _ in range(self._per_connection):
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                assert head.startswith(b"http/1.1 200 "), head
                length = int(re.search(rb"content-length: (\d+)", head)[1])
                self.answers[(await reader.readexactly(length)).decode()] += 1
                if b"\r\nconnection: close\r\n" in head or self._is_over:
                    return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
