"""TLS, with the handshake under way. The peer is CPython's ssl in a thread."""

import asyncio
import contextlib
import socket
import threading

from tests.certificates import contexts

from ..scenario import scenario
from ..stage import MORE_THAN_FITS
from .connections import close


def in_thread(stage, sock, converse):
    """Runs `converse(sock)` until the end of the scenario at most, which shuts `sock` down."""
    contexts()  # before two threads make some each
    sock.settimeout(10)
    same = stage.props.enter_context(sock.dup())  # wrap_socket() will take the other

    def run():
        with contextlib.suppress(OSError):  # the call was cancelled
            converse(sock)
        end()

    def end():
        with contextlib.suppress(OSError):  # the peer has hung up
            same.shutdown(socket.SHUT_RDWR)

    def stop():
        end()
        thread.join()

    thread = threading.Thread(target=run)

    stage.props.callback(stop)
    thread.start()


def serve(sock):
    with sock, contexts()[1].wrap_socket(sock, server_side=True) as conversation:
        while conversation.recv(100):
            pass


def read_all(sock):
    with sock, contexts()[1].wrap_socket(sock, server_side=True) as conversation:
        while conversation.recv(1 << 16):
            pass


def ask(sock):
    with sock, contexts()[0].wrap_socket(sock, server_hostname="localhost") as conversation:
        while conversation.recv(100):
            pass


def accept_and_serve(listener):
    sock, _ = listener.accept()
    sock.settimeout(10)
    serve(sock)


async def answered(stage):
    listener = stage.listener()
    in_thread(stage, listener, accept_and_serve)
    return "localhost", listener.getsockname()[1]


@scenario("create_connection")
async def over_tls(stage):
    made = yield stage.loop.create_connection(
        asyncio.Protocol, *await answered(stage), ssl=contexts()[0], family=socket.AF_INET
    )
    await close(made)


@scenario("create_connection")
async def over_tls_of_a_socket(stage):
    near, far = stage.connection()
    in_thread(stage, far, serve)
    made = yield stage.loop.create_connection(
        asyncio.Protocol, sock=near, ssl=contexts()[0], server_hostname="localhost"
    )
    await close(made)


@scenario("create_connection", endless=True)
async def over_tls_without_answer(stage):
    near, _ = stage.connection()
    yield stage.loop.create_connection(
        asyncio.Protocol, sock=near, ssl=contexts()[0], server_hostname="localhost"
    )


@scenario("connect_accepted_socket")
async def accepted_over_tls(stage):
    near, far = stage.connection()
    in_thread(stage, far, ask)
    made = yield stage.loop.connect_accepted_socket(asyncio.Protocol, near, ssl=contexts()[1])
    await close(made)


async def plain(stage, peer):
    """A connection that will be upgraded: what the peer says first is left unread until then."""
    near, far = stage.connection()
    transport, protocol = await stage.loop.create_connection(asyncio.Protocol, sock=near)
    transport.pause_reading()
    in_thread(stage, far, peer)
    return transport, protocol


@scenario("start_tls")
async def as_client(stage):
    transport, protocol = await plain(stage, serve)
    made = yield stage.loop.start_tls(
        transport, protocol, contexts()[0], server_hostname="localhost"
    )
    await close(made and (made,))


@scenario("start_tls")
async def as_server(stage):
    transport, protocol = await plain(stage, ask)
    made = yield stage.loop.start_tls(transport, protocol, contexts()[1], server_side=True)
    await close(made and (made,))


@scenario("sendfile")
async def a_file_over_tls(stage):
    near, far = stage.connection()
    in_thread(stage, far, read_all)
    transport, _ = await stage.loop.create_connection(
        asyncio.Protocol, sock=near, ssl=contexts()[0], server_hostname="localhost"
    )
    yield stage.loop.sendfile(transport, stage.file(MORE_THAN_FITS))
    await close((transport,))


@scenario("Server.serve_forever", endless=True)
async def while_a_client_shakes_hands(stage):
    server = await stage.loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=contexts()[1])
    client = stage.socket()
    client.connect_ex(server.sockets[0].getsockname())
    for _ in range(3):
        await asyncio.sleep(0)
    yield server.serve_forever(), client.close
