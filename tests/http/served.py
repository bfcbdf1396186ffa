"""Servers in a thread of their own, for clients that block, and servers as processes."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading

import penstock


class Served:
    """A server in another thread, while it runs."""

    def __init__(self, server, loop):
        self.server = server
        self.loop = loop
        self.address = server.addresses[0]
        self.scheme = "https" if server.config.ssl_certfile else "http"

    @property
    def port(self):
        return self.address[1]

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def connect(self):
        """A socket."""
        if isinstance(self.address, str):
            made = socket.socket(socket.AF_UNIX)
            made.connect(self.address)
        else:
            made = socket.create_connection(("127.0.0.1", self.port))
        made.settimeout(20)
        return made

    def exchange(self, request, *, half_closes=False):
        """All that comes on a connection of its own, until the server closes it."""
        with self.connect() as sock:
            sock.sendall(request)
            if half_closes:
                try:
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass  # it has been reset
            return read_all(sock)

    def get(self, path="/", *lines, method="GET"):
        """(status, [(name, value), …], body) of one response."""
        head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: a", *lines))
        return parsed(self.exchange(f"{head}Connection: close\r\n\r\n".encode("latin-1")))


def read_all(sock):
    content = b""
    try:
        while piece := sock.recv(1 << 16):
            content += piece
    except ConnectionResetError:
        pass
    return content


def parsed(response):
    """A response without chunks, which ends with the connection."""
    head, _, body = response.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
    return int(lines[0].split(" ")[1]), Fields(fields), body


class Fields(list):
    """(name, value), …; by name, the only value or None."""

    def __getitem__(self, name):
        found = [value for each, value in self if each.lower() == name]
        assert len(found) < 2, f"{name} stands there twice"
        return found[0] if found else None


@contextlib.contextmanager
def served(app, **options):
    """`app` on a free port of 127.0.0.1, or where the options say."""
    options = {"host": "127.0.0.1", "port": 0, "timeout_graceful_shutdown": 20, **options}
    made = threading.Event()
    found = []

    async def main():
        loop = asyncio.get_running_loop()
        server = penstock.Server(app, **options)
        started = loop.create_future()
        task = loop.create_task(server.serve(started=started))
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            return await task
        found.append(Served(server, loop))
        made.set()
        await task

    def run():
        try:
            penstock.run(main())
        except BaseException as error:
            found.append(error)
        made.set()

    thread = threading.Thread(target=run)
    thread.start()
    made.wait()
    try:
        if isinstance(found[0], BaseException):
            raise found[0]
        yield found[0]
    finally:
        if isinstance(found[0], Served):
            with contextlib.suppress(RuntimeError):  # the test has stopped it, and it has ended
                found[0].loop.call_soon_threadsafe(found[0].server.stop)
        thread.join()
    if len(found) > 1:
        raise found[1]


@contextlib.contextmanager
def served_by_command(*words, directory, **environment):
    """`penstock serve WORDS`, on a free port: (process, port)."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "serve", *words, "--port", "0"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        told = []
        for line in process.stderr:
            told.append(line)
            if found := re.search(r"serves on http://[\d.]+:(\d+)", line):
                break
        else:
            raise AssertionError("".join(told))
        yield process, int(found[1])
    finally:
        process.terminate()
        process.communicate(timeout=30)
