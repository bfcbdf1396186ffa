"""Protocols that say what they are told, and transports between two of them."""

import asyncio
import contextlib
import socket

from .scene import SHORT


class Listener(asyncio.Protocol):
    def __init__(self):
        self.transport = None
        self.received = bytearray()
        self.ended = self.lost = False
        self.changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        self.changed.set()

    def eof_received(self):
        self.ended = True
        self.changed.set()

    def connection_lost(self, exc):
        if exc is not None:
            SHORT[0].tell(exc)
        self.lost = True
        self.changed.set()

    def pause_writing(self):
        pass

    def resume_writing(self):
        self.changed.set()

    async def until(self, condition):
        while not condition(self):
            if self.lost:
                return False
            self.changed.clear()
            await self.changed.wait()
        return True


class Filler(Listener, asyncio.BufferedProtocol):
    data_received = None

    def get_buffer(self, hint):
        self.buffer = bytearray(1000)
        return self.buffer

    def buffer_updated(self, count):
        self.received += self.buffer[:count]
        self.changed.set()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.transport = None
        self.came = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.came.put_nowait((data, address))

    def error_received(self, exc):
        SHORT[0].tell(exc)
        self.came.put_nowait((None, exc))

    def connection_lost(self, exc):
        if exc is not None:
            SHORT[0].tell(exc)
        self.came.put_nowait((None, exc))


@contextlib.asynccontextmanager
async def pair(near_kind=Listener, far_kind=Listener):
    """Two transports that are connected to each other."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    ours = theirs = None
    try:
        ours, near_protocol = await loop.connect_accepted_socket(near_kind, near)
        theirs, far_protocol = await loop.connect_accepted_socket(far_kind, far)
        yield near_protocol, far_protocol
    finally:
        for transport in (ours, theirs):
            if transport is not None:
                transport.abort()


@contextlib.contextmanager
def aborting(protocols):
    try:
        yield
    finally:
        for protocol in protocols:
            if protocol.transport is not None:
                protocol.transport.abort()
