"""How a TLS connection ends: in good order, by either side, abruptly, or not at all."""

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
import struct
import warnings
import weakref

import pytest


def reset(sock):
    """The next close of `sock` resets the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def test_close_says_close_notify(serve, recorder):
    protocol, peer = await serve(recorder)
    transport = protocol.transport
    assert not transport.is_closing()
    transport.close()
    assert transport.is_closing()
    transport.close()
    assert await peer.drive(peer.tls.unwrap) is None
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "eof_received", "connection_lost"]


async def test_the_peer_closes(serve, recorder):
    protocol, peer = await serve(recorder)
    await peer.send(b"last words")
    await peer.drive(peer.tls.unwrap)
    assert await protocol.lost is None
    assert protocol.data == b"last words"
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]


async def test_eof_without_close_notify(serve, recorder):
    protocol, peer = await serve(recorder)
    await peer.send(b"last words")
    peer.sock.shutdown(socket.SHUT_WR)
    assert await protocol.lost is None
    assert protocol.data == b"last words"
    assert protocol.calls[-2:] == ["eof_received", "connection_lost"]


async def test_eof_while_reading_is_paused(serve, recorder):
    protocol, peer = await serve(recorder)
    protocol.transport.pause_reading()
    await peer.send(b"unread")
    peer.sock.shutdown(socket.SHUT_WR)
    for _ in range(20):
        await asyncio.sleep(0.001)
    assert protocol.calls == ["connection_made"]
    protocol.transport.resume_reading()
    assert await protocol.lost is None
    assert protocol.data == b"unread"


@pytest.mark.penstock_only("asyncio waits for a reader who has gone, without end")
async def test_closed_after_eof_while_reading_is_paused(serve, recorder):
    protocol, peer = await serve(recorder)
    protocol.transport.pause_reading()
    await peer.send(b"unread")
    below = protocol.transport._ssl_protocol._transport
    peer.sock.shutdown(socket.SHUT_WR)
    while "read=polling" in repr(below):
        await asyncio.sleep(0.001)
    protocol.transport.close()
    assert await protocol.lost is None
    assert protocol.data == b""


async def test_reset(serve, recorder, reports):
    protocol, peer = await serve(recorder)
    seen = reports()
    reset(peer.sock)
    assert isinstance(await protocol.lost, ConnectionResetError)
    assert seen == []


async def test_half_close_is_not_for_tls(serve, recorder):
    protocol, _ = await serve(recorder)
    assert not protocol.transport.can_write_eof()
    with pytest.raises(NotImplementedError):
        protocol.transport.write_eof()
    protocol.transport.abort()
    await protocol.lost


async def test_the_answer_to_a_closing_peer_arrives(serve, recorder):
    """What was written before the peer's close_notify came is sent, with ours behind it."""
    protocol, peer = await serve(recorder)
    size = 4_000_000
    protocol.transport.write(bytes(size))
    await peer.send_close_notify()
    received = 0
    while received < size:
        received += len(await peer.read())
    assert received == size
    await peer.drive(peer.tls.unwrap)
    assert await protocol.lost is None


async def test_the_answer_to_half_a_connection_arrives(serve, recorder):
    protocol, peer = await serve(recorder)
    size = 4_000_000
    protocol.transport.write(bytes(size))
    peer.sock.shutdown(socket.SHUT_WR)
    assert await peer.read_exactly(size) == bytes(size)
    assert await protocol.lost is None


async def test_eof_received_cannot_keep_it_open(serve, recorder, caplog):
    protocol, peer = await serve(recorder)
    protocol.keep_open = True
    await peer.send_close_notify()
    assert await protocol.lost is None
    assert "returning true from eof_received() has no effect when using ssl" in caplog.text


async def test_eof_received_that_raises(serve, recorder, reports):
    def fail(*_):
        raise LookupError("in eof_received")

    protocol, peer = await serve(lambda: recorder(eof_received=fail))
    seen = reports()
    await peer.send_close_notify()
    assert isinstance(await protocol.lost, LookupError)
    assert [context["message"] for context in seen] == ["Error calling eof_received()"]


@pytest.mark.penstock_only("asyncio has given up what it would look at: AttributeError")
async def test_methods_of_a_transport_that_is_lost(serve, recorder, reports):
    seen = reports()
    protocol, peer = await serve(recorder)
    transport = protocol.transport
    transport.close()
    await peer.send_close_notify()
    await protocol.lost
    for _ in range(2):
        transport.write(b"late")
        transport.pause_reading()
        transport.resume_reading()
        transport.close()
        transport.abort()
        assert not transport.is_reading() or transport.is_closing()
    await asyncio.sleep(0)
    assert seen == [] and protocol.calls.count("connection_lost") == 1


async def test_abort(serve, recorder):
    protocol, _peer = await serve(recorder)
    protocol.transport.write(bytes(10_000_000))
    protocol.transport.abort()
    protocol.transport.abort()
    protocol.transport.close()
    assert protocol.transport.is_closing()
    assert await protocol.lost is None
    assert "eof_received" not in protocol.calls


async def test_shutdown_timeout(serve, recorder):
    protocol, _ = await serve(recorder, ssl_shutdown_timeout=0.05)
    protocol.transport.close()
    lost = await protocol.lost
    assert isinstance(lost, TimeoutError)
    assert str(lost) == "SSL shutdown timed out"


async def test_shutdown_timeout_while_flushing(serve, recorder):
    protocol, _ = await serve(recorder, ssl_shutdown_timeout=0.05)
    protocol.transport.write(bytes(20_000_000))
    protocol.transport.close()
    assert isinstance(await protocol.lost, TimeoutError)


async def test_data_that_arrives_after_close(serve, recorder, reports):
    protocol, peer = await serve(recorder)
    seen = reports()
    protocol.transport.close()
    await peer.send(b"did not know yet")
    lost = await protocol.lost
    assert isinstance(lost, ssl.SSLError)
    assert "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" in str(lost)
    assert seen == []


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
@pytest.mark.parametrize("what", ["close", "abort"])
async def test_closed_in_a_callback(serve, recorder, name, what):
    protocol, peer = await serve(
        lambda: recorder(**{name: lambda protocol, *_: getattr(protocol.transport, what)()})
    )
    await peer.send(b"data")
    await peer.send_close_notify()
    assert await protocol.lost is None
    assert protocol.data == b"data"


async def test_writes_after_close(serve, recorder, caplog):
    protocol, peer = await serve(recorder)
    protocol.transport.close()
    with caplog.at_level(logging.WARNING, "asyncio"):
        for _ in range(5):
            protocol.transport.write(b"too late")
        assert caplog.messages == []
        protocol.transport.write(b"too late")
        assert caplog.messages == ["SSL connection is closed"]
    await peer.drive(peer.tls.unwrap)
    await protocol.lost
    protocol.transport.writelines([b"much", b"too late"])


@pytest.mark.parametrize("tampering", ["flip", "garbage"])
async def test_broken_records(serve, recorder, reports, tampering):
    protocol, peer = await serve(recorder)
    seen = reports()
    peer.tls.write(b"data")
    record = bytearray(peer.outgoing.read())
    if tampering == "flip":
        record[-1] ^= 1
    else:
        record[:] = b"Z" * 40
    await peer.loop.sock_sendall(peer.sock, record)
    lost = await protocol.lost
    assert isinstance(lost, ssl.SSLError)
    # OpenSSL 3.2 and newer may name the layer that found the fault instead of the fault.
    fault = "DECRYPTION_FAILED_OR_BAD_RECORD_MAC" if tampering == "flip" else "WRONG_VERSION_NUMBER"
    assert lost.reason in (fault, "RECORD_LAYER_FAILURE"), lost
    assert lost.library == "SSL"
    assert lost.errno == ssl.SSL_ERROR_SSL
    assert seen == []


@pytest.mark.penstock_only("asyncio loses what came in front of a broken record")
async def test_what_came_before_a_broken_record_is_delivered(serve, recorder):
    protocol, peer = await serve(recorder)
    peer.tls.write(b"whole")
    await peer.loop.sock_sendall(peer.sock, peer.outgoing.read() + b"Z" * 40)
    assert isinstance(await protocol.lost, ssl.SSLError)
    assert protocol.data == b"whole"


async def test_the_peer_sends_an_alert(serve, recorder, client_context):
    """A fatal alert of the peer's comes out as ssl.SSLError."""
    protocol, peer = await serve(recorder)
    peer.incoming.write(b"Z" * 40)
    with pytest.raises(ssl.SSLError):
        peer.tls.read(10)
    await peer.flush()
    lost = await protocol.lost
    assert isinstance(lost, ssl.SSLError)
    assert "ALERT" in lost.reason


def test_unclosed_transport_warns(new_loop, pair, server_context, client_context, recorder, peer):
    async def main():
        loop = asyncio.get_running_loop()
        connecting = loop.create_task(
            loop.create_connection(
                asyncio.Protocol, sock=pair[0], ssl=client_context, server_hostname="localhost"
            )
        )
        await peer(pair[1], server_context, server_side=True).handshake()
        transport, _ = await connecting
        return weakref.ref(transport)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            transport = runner.run(main())
        del runner
        gc.collect()
    messages = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    assert sum("unclosed transport" in message for message in messages) == 2, messages
    caught.clear()  # a warning that is recorded keeps its source
    gc.collect()
    assert transport() is None


async def test_nothing_is_left(connect, recorder):
    protocol, peer = await connect(recorder)
    transport = protocol.transport
    transport.write(b"x")
    assert await peer.read() == b"x"
    transport.close()
    await peer.drive(peer.tls.unwrap)
    await protocol.lost
    gone = [weakref.ref(transport), weakref.ref(protocol)]
    tls = weakref.ref(transport.get_extra_info("ssl_object"))
    await asyncio.sleep(0)
    del transport, protocol
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    assert tls() is None


async def test_the_ssl_object_outlives_its_connection(connect, recorder):
    protocol, _peer = await connect(recorder)
    tls = protocol.transport.get_extra_info("ssl_object")
    protocol.transport.abort()
    await protocol.lost
    protocol.transport = None
    del protocol
    gc.collect()
    with pytest.raises(ssl.SSLWantReadError):
        tls.read(10)
    assert tls.write(b"nobody hears") == 12
    assert tls.version()


@pytest.mark.penstock_only("asyncio's order of shutdown and data differs with each version")
def test_a_fatal_error_after_the_loop_has_closed(new_loop, server_context, client_context):
    """The error that the program meets is that of the loop, never a missing one."""
    loop = new_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:

        async def connect():
            server, client = await asyncio.gather(
                loop.connect_accepted_socket(asyncio.Protocol, ours, ssl=server_context),
                loop.create_connection(
                    asyncio.Protocol, sock=theirs, ssl=client_context, server_hostname="localhost"
                ),
            )
            return server[0], client[0]

        server, client = loop.run_until_complete(connect())
        for transport in server, client:
            with contextlib.suppress(ssl.SSLError):
                transport.get_extra_info("ssl_object").unwrap()
        loop.close()
        for transport in server, client:
            try:
                transport.write(b"x")
            except RuntimeError as error:
                assert str(error) == "Event loop is closed"


async def serve_one(server_context, client_context, recorder):
    """A server, the protocol of its one connection, and that of the client."""
    loop = asyncio.get_running_loop()
    ours = recorder()
    server = await loop.create_server(lambda: ours, "127.0.0.1", 0, ssl=server_context)
    _, theirs = await loop.create_connection(
        recorder,
        *server.sockets[0].getsockname(),
        ssl=client_context,
        server_hostname="localhost",
    )
    await ours.made
    return server, ours, theirs


@pytest.mark.asyncio_since(3, 12, 1)
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_server_is_closed_once_its_connections_are(
    server_context, client_context, recorder, how
):
    server, ours, theirs = await serve_one(server_context, client_context, recorder)
    waiting = asyncio.create_task(server.wait_closed())
    server.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    getattr(ours.transport, how)()
    await waiting
    await ours.lost
    await theirs.lost


@pytest.mark.asyncio_since(3, 13)
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_a_server_closes_its_connections(server_context, client_context, recorder, how):
    server, ours, theirs = await serve_one(server_context, client_context, recorder)
    server.close()
    getattr(server, how)()
    await server.wait_closed()
    await ours.lost
    await theirs.lost
