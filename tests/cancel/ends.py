"""Protocols that end their transport in a callback, what calls that, and the ways of ending it."""

import asyncio
import socket

from .stage import MORE_THAN_FITS

MOST_WRITES = 100


class Ends(asyncio.Protocol):
    """Does something to its transport in one of its callbacks."""

    def __init__(self, callback, end):
        self.called = set()
        self._callback = callback
        self._end = end
        self.lost = asyncio.get_running_loop().create_future()

    def _called(self, name):
        self.called.add(name)
        if name == self._callback:
            self._end(self.transport)

    def connection_made(self, transport):
        self.transport = transport
        self._called("connection_made")

    def data_received(self, data):
        self._called("data_received")

    def eof_received(self):
        self._called("eof_received")
        return True

    def datagram_received(self, data, address):
        self._called("datagram_received")

    def error_received(self, exc):
        self._called("error_received")

    def pause_writing(self):
        self._called("pause_writing")

    def resume_writing(self):
        self._called("resume_writing")

    def connection_lost(self, exc):
        assert not self.lost.done(), "connection_lost() was called twice"
        self._called("connection_lost")
        self.lost.set_result(None)


class EndsBuffered(Ends, asyncio.BufferedProtocol):
    def get_buffer(self, sizehint):
        self._called("get_buffer")
        return bytearray(100)

    def buffer_updated(self, nbytes):
        self._called("buffer_updated")


CALLBACKS = {
    Ends: [
        "connection_made",
        "data_received",
        "eof_received",
        "pause_writing",
        "resume_writing",
        "connection_lost",
    ],
    EndsBuffered: ["get_buffer", "buffer_updated", "eof_received"],
}


def write_until_paused(transport, protocol):
    """By many small buffers: asyncio's TLS counts none that it could pass on."""
    transport.set_write_buffer_limits(high=0)
    for _ in range(MOST_WRITES):
        if "pause_writing" in protocol.called or transport.is_closing():
            return
        transport.write(MORE_THAN_FITS)


def provoke(stage, transport, protocol, callback, far):
    """What the other end of a stream socket does for a callback."""
    if callback in ("data_received", "get_buffer", "buffer_updated"):
        far.send(b"x")
    elif callback == "eof_received":
        far.shutdown(socket.SHUT_WR)
    elif callback in ("pause_writing", "resume_writing"):
        stage.sink(far)
        write_until_paused(transport, protocol)
    elif callback == "connection_lost":
        far.close()
        transport.abort()  # for eof_received() has kept it open


def close(transport):
    transport.close()


def abort(transport):
    transport.abort()


def close_twice(transport):
    transport.close()
    transport.close()


def abort_twice(transport):
    transport.abort()
    transport.abort()


def close_with_something_to_send(transport):
    if not transport.is_closing():
        transport.write(b"farewell")
    transport.close()
    transport.abort()
    transport.close()
