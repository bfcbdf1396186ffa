"""What a scenario plays with: sockets and files that are closed after it, and what must survive."""

import asyncio
import contextlib
import os
import pathlib
import socket
import tempfile

# More than a Unix socket takes by default.
MORE_THAN_FITS = bytes(400_000)


class Stage:
    """One performance of one scenario. Whatever comes from here is closed at its end."""

    def __init__(self, loop):
        self.loop = loop
        self.props = contextlib.ExitStack()
        self.tripwire = Tripwire()
        self.expects = lambda report: False  # what may be told to the exception handler
        self._sockets = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.props.close()

    def own(self, sock):
        """Close `sock` at the end, and hold the loop to leaving its descriptor alone."""
        sock.setblocking(False)
        self._sockets.append((sock, os.fstat(sock.fileno()).st_ino))
        return self.props.enter_context(sock)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        return self.own(socket.socket(family, kind))

    def pair(self):
        return tuple(map(self.own, socket.socketpair()))

    def listener(self, backlog=100):
        return self.own(socket.create_server(("127.0.0.1", 0), backlog=backlog))

    def connection(self):
        """Two ends of a connection over loopback."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
        return self.own(near), self.own(far)

    def full(self):
        """A listening socket that takes no more connections."""
        listener = self.listener(backlog=0)
        for _ in range(2):
            self.socket().connect_ex(listener.getsockname())
        return listener

    def sink(self, sock):
        """Have the loop read from `sock`, and return what reads all that is there at once."""

        def drain():
            with contextlib.suppress(OSError):  # there is no more, or the loop's end was reset
                while sock.recv(1 << 20):
                    pass

        self.loop.add_reader(sock, drain)
        self.props.callback(self.loop.remove_reader, sock)
        return drain

    def unused_port(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]

    def folder(self):
        return self.props.enter_context(tempfile.TemporaryDirectory())

    def file(self, content):
        path = pathlib.Path(self.folder(), "file")
        path.write_bytes(content)
        return self.props.enter_context(path.open("rb"))

    def pipe(self):
        """The two ends as files, unbuffered."""
        ends = zip(os.pipe(), ("rb", "wb"), strict=True)
        return tuple(self.props.enter_context(open(fd, mode, 0)) for fd, mode in ends)

    def replace(self, thing, name, value):
        setattr(thing, name, value)
        self.props.callback(delattr, thing, name)

    def check(self):
        """A socket is closed by its object or open; its number refers to nothing else."""
        for sock, inode in self._sockets:
            if sock.fileno() != -1:
                assert os.fstat(sock.fileno()).st_ino == inode, f"{sock} is another file now"


class Bystander:
    """A connection on the same loop that has nothing to do with it all."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.is_lost = False

        def data_received(self, data):
            self.transport.write(data)

        def connection_lost(self, exc):
            self.is_lost = True

    async def open(self):
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        _, self.protocol = await loop.create_connection(self.Echo, sock=ours)

    async def check(self):
        self.theirs.send(b"still there?")
        for _ in range(10_000):
            try:
                assert self.theirs.recv(100) == b"still there?"
                return
            except BlockingIOError:
                await asyncio.sleep(0)
        raise AssertionError("the unrelated connection does not answer")

    async def close(self):
        self.protocol.transport.close()
        while not self.protocol.is_lost:
            await asyncio.sleep(0)
        self.theirs.close()


class Tripwire:
    """Descriptors opened right after a cancellation: they get the numbers that it has freed, and a
    late second close would hit them."""

    def __init__(self):
        self._pairs = []
        self.fds = set()

    def set(self):
        if not self._pairs:
            self._pairs = [socket.socketpair() for _ in range(2)]
            self.fds = {sock.fileno() for pair in self._pairs for sock in pair}

    def check(self):
        for near, far in self._pairs:
            near.send(b"x")
            assert far.recv(10) == b"x"

    def close(self):
        for pair in self._pairs:
            for sock in pair:
                sock.close()
