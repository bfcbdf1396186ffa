"""Transports of every kind but plain TCP, and what has each of their callbacks called.

A link is made by `await make(stage, protocol, callback)`, which returns its transport, what closes
with it (a file or a socket), and what brings the callback about once the transport is there: None,
where the peer does that on its own.
"""

import asyncio
import functools
import socket
from collections.abc import Callable
from dataclasses import dataclass

from .calls import tls
from .ends import CALLBACKS, Ends, EndsBuffered, provoke, write_until_paused

STREAM = CALLBACKS[Ends]
BUFFERED = CALLBACKS[EndsBuffered]


@dataclass(frozen=True)
class Link:
    make: Callable
    callbacks: list[str]
    kind: type[Ends] = Ends

    def __str__(self):
        buffered = "-buffered" if self.kind is EndsBuffered else ""
        return self.make.__name__ + buffered


# ---- TLS, whose peer is CPython's ssl in a thread ------------------------------------------------


def say(conversation):
    conversation.send(b"x")
    listen(conversation)


def listen(conversation):
    while conversation.recv(1 << 16):
        pass


def say_goodbye(conversation):
    conversation.unwrap()


def hang_up(conversation):
    pass


PEERS = {
    "data_received": say,
    "get_buffer": say,
    "buffer_updated": say,
    "eof_received": say_goodbye,
    "connection_lost": hang_up,
}


def peer(callback, *, is_server):
    def converse(sock):
        context = tls.contexts()[1 if is_server else 0]
        name = None if is_server else "localhost"
        with context.wrap_socket(sock, server_side=is_server, server_hostname=name) as conversation:
            PEERS.get(callback, listen)(conversation)

    return converse


def writing(callback, transport, protocol):
    if callback in ("pause_writing", "resume_writing"):
        return functools.partial(write_until_paused, transport, protocol)
    return None


async def tls_client(stage, protocol, callback):
    near, far = stage.connection()
    tls.in_thread(stage, far, peer(callback, is_server=True))
    transport, _ = await stage.loop.create_connection(
        lambda: protocol, sock=near, ssl=tls.contexts()[0], server_hostname="localhost"
    )
    return transport, near, writing(callback, transport, protocol)


async def tls_server(stage, protocol, callback):
    near, far = stage.connection()
    tls.in_thread(stage, far, peer(callback, is_server=False))
    transport, _ = await stage.loop.connect_accepted_socket(
        lambda: protocol, near, ssl=tls.contexts()[1]
    )
    return transport, near, writing(callback, transport, protocol)


async def started_tls(stage, protocol, callback, **options):
    near, far = stage.connection()
    plain, _ = await stage.loop.create_connection(lambda: protocol, sock=near)
    plain.pause_reading()
    is_server = "server_side" in options
    tls.in_thread(stage, far, peer(callback, is_server=not is_server))
    transport = await stage.loop.start_tls(plain, protocol, tls.contexts()[is_server], **options)
    protocol.transport = transport
    return transport, near, writing(callback, transport, protocol)


async def started_tls_client(stage, protocol, callback):
    return await started_tls(stage, protocol, callback, server_hostname="localhost")


async def started_tls_server(stage, protocol, callback):
    return await started_tls(stage, protocol, callback, server_side=True)


# ---- pipes ---------------------------------------------------------------------------------------


async def read_pipe(stage, protocol, callback):
    reading, writing = stage.pipe()
    transport, _ = await stage.loop.connect_read_pipe(lambda: protocol, reading)
    act = {
        "data_received": lambda: writing.write(b"x"),
        "eof_received": writing.close,
        "connection_lost": writing.close,
    }
    return transport, reading, act.get(callback)


async def write_pipe(stage, protocol, callback):
    reading, writing = stage.pipe()
    transport, _ = await stage.loop.connect_write_pipe(lambda: protocol, writing)

    def fill():
        stage.loop.add_reader(reading, reading.read, 1 << 16)
        stage.props.callback(stage.loop.remove_reader, reading)
        write_until_paused(transport, protocol)

    act = {"pause_writing": fill, "resume_writing": fill, "connection_lost": reading.close}
    return transport, writing, act.get(callback)


# ---- datagrams -----------------------------------------------------------------------------------


async def datagrams(stage, protocol, callback):
    if callback in ("pause_writing", "resume_writing"):
        return await unix_datagrams(stage, protocol)
    far = stage.socket(kind=socket.SOCK_DGRAM)
    far.bind(("127.0.0.1", 0))
    transport, _ = await stage.loop.create_datagram_endpoint(
        lambda: protocol, local_addr=("127.0.0.1", 0), remote_addr=far.getsockname()
    )
    sock = transport.get_extra_info("socket")

    def be_refused():
        far.close()
        transport.sendto(b"x")

    act = {
        "datagram_received": lambda: far.sendto(b"x", sock.getsockname()),
        "error_received": be_refused,
        "connection_lost": transport.abort,
    }
    return transport, sock, act.get(callback)


async def unix_datagrams(stage, protocol):
    """Of UDP, what doesn't fit is dropped: only here is there a queue that fills."""
    near, far = (stage.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    far.bind(f"{stage.folder()}/far")
    near.connect(far.getsockname())
    transport, _ = await stage.loop.create_datagram_endpoint(lambda: protocol, sock=near)

    def fill():
        transport.set_write_buffer_limits(high=0)
        while "pause_writing" not in protocol.called and not transport.is_closing():
            transport.sendto(b"x")
        stage.sink(far)

    return transport, near, fill


# ---- unix sockets --------------------------------------------------------------------------------


async def unix_client(stage, protocol, callback):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{stage.folder()}/socket")
        listener.listen()
        transport, _ = await stage.loop.create_unix_connection(
            lambda: protocol, listener.getsockname()
        )
        far = stage.own(listener.accept()[0])
    sock = transport.get_extra_info("socket")
    return transport, sock, lambda: provoke(stage, transport, protocol, callback, far)


async def unix_server(stage, protocol, callback):
    made = stage.loop.create_future()

    def factory():
        made.set_result(None)
        return protocol

    path = f"{stage.folder()}/socket"
    server = await stage.loop.create_unix_server(factory, path)
    far = stage.socket(socket.AF_UNIX)
    far.connect(path)
    await made
    while "connection_made" not in protocol.called:
        await asyncio.sleep(0)
    server.close()
    sock = protocol.transport.get_extra_info("socket")
    return (
        protocol.transport,
        sock,
        lambda: provoke(stage, protocol.transport, protocol, callback, far),
    )


LINKS = [
    Link(tls_client, STREAM),
    Link(tls_client, BUFFERED, EndsBuffered),
    Link(tls_server, STREAM),
    Link(tls_server, BUFFERED, EndsBuffered),
    Link(started_tls_client, STREAM[1:]),
    Link(started_tls_client, BUFFERED, EndsBuffered),
    Link(started_tls_server, STREAM[1:]),
    Link(started_tls_server, BUFFERED, EndsBuffered),
    Link(read_pipe, ["connection_made", "data_received", "eof_received", "connection_lost"]),
    Link(write_pipe, ["connection_made", "pause_writing", "resume_writing", "connection_lost"]),
    Link(
        datagrams,
        [
            "connection_made",
            "datagram_received",
            "error_received",
            "pause_writing",
            "resume_writing",
            "connection_lost",
        ],
    ),
    Link(unix_client, STREAM),
    Link(unix_client, BUFFERED, EndsBuffered),
    Link(unix_server, STREAM),
    Link(unix_server, BUFFERED, EndsBuffered),
]
