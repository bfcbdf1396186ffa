"""create_connection and connect_accepted_socket."""

import asyncio
import errno
import logging
import socket

import pytest


class Recorder(asyncio.Protocol):
    """Writes down what happens to it."""

    def __init__(self):
        self.events = []
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")

    def data_received(self, data):
        self.events.append(data)

    def eof_received(self):
        self.events.append("eof")

    def connection_lost(self, exc):
        self.events.append("lost")
        self.lost.set_result(exc)


def answer(*addresses):
    """What getaddrinfo says of them."""
    return [
        (
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            address,
        )
        for address in addresses
    ]


@pytest.fixture
def resolves_to(monkeypatch):
    def resolves_to(*addresses):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: answer(*addresses))

    return resolves_to


async def test_a_conversation(listening):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Recorder, *listening.getsockname())
    assert protocol.events == ["made"]
    assert protocol.transport is transport
    assert isinstance(transport, asyncio.Transport)
    assert transport.get_extra_info("peername") == listening.getsockname()
    peer, address = await loop.sock_accept(listening)
    with peer:
        assert transport.get_extra_info("sockname") == address
        assert transport.get_extra_info("socket").getsockname() == address
        peer.send(b"hello")
    assert await protocol.lost is None
    assert protocol.events == ["made", b"hello", "eof", "lost"]


async def test_the_delay_of_nagle_is_off(listening):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Recorder, *listening.getsockname())
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    transport.close()
    await protocol.lost


@pytest.mark.penstock_only("asyncio takes a socket for TCP only where its maker said so")
async def test_the_delay_of_nagle_is_off_where_the_socket_names_no_protocol(listening):
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, listening.getsockname())
    assert sock.proto == 0 and not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    transport, protocol = await loop.create_connection(Recorder, sock=sock)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    transport.close()
    await protocol.lost


async def test_a_connected_socket_is_taken_over(listening):
    loop = asyncio.get_running_loop()
    sock = socket.create_connection(listening.getsockname())
    transport, protocol = await loop.create_connection(Recorder, sock=sock)
    assert sock.getblocking() is False
    transport.close()
    await protocol.lost
    await asyncio.sleep(0)
    assert sock.fileno() == -1


async def test_a_socket_is_taken_over_in_every_way_of_calling(listening):
    loop = asyncio.get_running_loop()
    for arguments in (
        {},
        {"ssl": None, "server_hostname": None},
        {"ssl": False, "family": 0, "happy_eyeballs_delay": None},
        {"host": None, "port": None},
    ):
        sock = socket.create_connection(listening.getsockname())
        connecting = loop.create_connection(Recorder, sock=sock, **arguments)
        assert connecting.__qualname__.endswith("create_connection")
        transport, protocol = await connecting
        assert transport.get_extra_info("peername") == listening.getsockname()
        transport.abort()
        await protocol.lost


async def test_a_connection_that_nobody_waits_for_any_more_is_closed(listening):
    loop = asyncio.get_running_loop()
    made = []

    def recorder():
        made.append(Recorder())
        return made[0]

    sock = socket.create_connection(listening.getsockname())
    task = asyncio.create_task(loop.create_connection(recorder, sock=sock))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await made[0].lost
    assert made[0].events == ["made", "lost"]


@pytest.mark.penstock_only("what is native there")
async def test_taking_over_is_native(listening):
    sock = socket.create_connection(listening.getsockname())
    connecting = asyncio.get_running_loop().create_connection(Recorder, sock=sock, ssl=None)
    assert type(connecting).__name__ == "SockCall"
    transport, protocol = await connecting
    transport.close()
    await protocol.lost


async def test_connect_accepted_socket(listening):
    loop = asyncio.get_running_loop()
    with socket.create_connection(listening.getsockname()) as client:
        accepted, address = await loop.sock_accept(listening)
        transport, protocol = await loop.connect_accepted_socket(Recorder, accepted)
        assert transport.get_extra_info("peername") == address
        client.send(b"hello")
        client.shutdown(socket.SHUT_WR)
        await protocol.lost
    assert protocol.events == ["made", b"hello", "eof", "lost"]


async def test_local_addr(listening):
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        Recorder, *listening.getsockname(), local_addr=("127.0.0.2", 0)
    )
    assert transport.get_extra_info("sockname")[0] == "127.0.0.2"
    transport.close()
    await protocol.lost


async def test_a_local_addr_that_is_taken(listening):
    loop = asyncio.get_running_loop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        local = taken.getsockname()
        with pytest.raises(OSError) as caught:
            await loop.create_connection(Recorder, *listening.getsockname(), local_addr=local)
    assert caught.value.errno == errno.EADDRINUSE
    assert "while attempting to bind on address" in str(caught.value)
    assert repr(local) in str(caught.value)


@pytest.mark.asyncio_since(3, 12)
async def test_a_local_addr_of_another_family(listening):
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match=r"no matching local address with family=.*found"):
        await loop.create_connection(Recorder, *listening.getsockname(), local_addr=("::1", 0))


async def test_the_first_address_that_answers_is_taken(listening, unused_port, resolves_to):
    resolves_to(("127.0.0.1", unused_port), listening.getsockname())
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Recorder, "example.com", 80)
    assert transport.get_extra_info("peername") == listening.getsockname()
    transport.close()
    await protocol.lost


async def test_refused(unused_port):
    loop = asyncio.get_running_loop()
    with pytest.raises(ConnectionRefusedError) as caught:
        await loop.create_connection(Recorder, "127.0.0.1", unused_port)
    assert caught.value.strerror == f"Connect call failed ('127.0.0.1', {unused_port})"


@pytest.mark.parametrize("delay", [None, 0.01])
async def test_all_fail_alike_or_each_in_its_way(unused_port, resolves_to, delay):
    loop = asyncio.get_running_loop()
    same = ("127.0.0.1", unused_port)
    resolves_to(same, same)
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Recorder, "example.com", 80, happy_eyeballs_delay=delay)
    resolves_to(same, ("127.0.0.2", unused_port))
    with pytest.raises(OSError) as caught:
        await loop.create_connection(Recorder, "example.com", 80, happy_eyeballs_delay=delay)
    assert str(caught.value) == (
        f"Multiple exceptions: [Errno 111] Connect call failed ('127.0.0.1', {unused_port}), "
        f"[Errno 111] Connect call failed ('127.0.0.2', {unused_port})"
    )


@pytest.mark.asyncio_since(3, 12)
@pytest.mark.parametrize("delay", [None, 0.01])
async def test_all_errors(unused_port, resolves_to, delay):
    loop = asyncio.get_running_loop()
    resolves_to(("127.0.0.1", unused_port), ("127.0.0.2", unused_port))
    with pytest.raises(ExceptionGroup) as caught:
        await loop.create_connection(
            Recorder, "example.com", 80, all_errors=True, happy_eyeballs_delay=delay
        )
    assert caught.value.message == "create_connection failed"
    assert [type(error) for error in caught.value.exceptions] == [ConnectionRefusedError] * 2


async def test_an_empty_answer(resolves_to):
    resolves_to()
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match=r"^getaddrinfo\(\) returned empty list$"):
        await loop.create_connection(Recorder, "example.com", 80)


class TestHappyEyeballs:
    @pytest.fixture
    def silent(self):
        """An address that neither answers nor refuses: a listener whose backlog is full."""
        with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for sock in (first, second):
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
            yield listener.getsockname()

    async def test_the_next_starts_when_the_last_is_slow(self, listening, silent, resolves_to):
        resolves_to(silent, listening.getsockname())
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(
            Recorder, "example.com", 80, happy_eyeballs_delay=0.01
        )
        assert transport.get_extra_info("peername") == listening.getsockname()
        transport.close()
        await protocol.lost

    async def test_the_next_starts_at_once_when_the_last_fails(
        self, listening, unused_port, resolves_to
    ):
        resolves_to(("127.0.0.1", unused_port), listening.getsockname())
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            transport, protocol = await loop.create_connection(
                Recorder, "example.com", 80, happy_eyeballs_delay=3600
            )
        transport.close()
        await protocol.lost

    async def test_slow_ones_are_given_up_when_all_are_cancelled(self, silent, resolves_to):
        resolves_to(silent, silent, silent)
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(
            loop.create_connection(Recorder, "example.com", 80, happy_eyeballs_delay=0.001)
        )
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_families_take_turns(self, listening, resolves_to, monkeypatch):
        loop = asyncio.get_running_loop()
        tried = []
        four, six = ("127.0.0.1", 1), ("::1", 1, 0, 0)

        async def connect(sock, address):
            tried.append(address)
            raise OSError("no")

        monkeypatch.setattr(loop, "sock_connect", connect)
        monkeypatch.setattr(socket, "socket", FakeSocket)
        resolves_to(six, six, six, four, four)
        for options, expected in (
            ({}, [six, six, six, four, four]),
            ({"interleave": 1}, [six, four, six, four, six]),
            ({"interleave": 2}, [six, six, four, six, four]),
            ({"happy_eyeballs_delay": 0.1}, [six, four, six, four, six]),
        ):
            tried.clear()
            with pytest.raises(OSError):
                await loop.create_connection(Recorder, "example.com", 80, **options)
            assert tried == expected


class FakeSocket:
    """A family may be missing on the machine that runs the tests."""

    def __init__(self, *args, **kwargs):
        pass

    def setblocking(self, flag):
        pass

    def fileno(self):
        return -1

    def close(self):
        pass


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "host and port was not specified and no sock specified"),
        (
            {"host": "h", "server_hostname": "n"},
            ValueError,
            "server_hostname is only meaningful with ssl",
        ),
        (
            {"host": "h", "ssl_handshake_timeout": 1},
            ValueError,
            "ssl_handshake_timeout is only meaningful with ssl",
        ),
        (
            {"host": "h", "ssl_shutdown_timeout": 1},
            ValueError,
            "ssl_shutdown_timeout is only meaningful with ssl",
        ),
        (
            {"port": 1, "ssl": True},
            ValueError,
            "You must set server_hostname when using ssl without a host",
        ),
    ],
)
async def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error) as caught:
        await asyncio.get_running_loop().create_connection(Recorder, **arguments)
    assert str(caught.value) == message


async def test_wrong_sockets(listening):
    loop = asyncio.get_running_loop()
    with socket.socket() as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ValueError) as caught:
            await loop.create_connection(Recorder, "127.0.0.1", 80, sock=sock)
        assert str(caught.value) == "host/port and sock can not be specified at the same time"
        for call in (
            loop.create_connection(Recorder, sock=datagrams),
            loop.connect_accepted_socket(Recorder, datagrams),
        ):
            with pytest.raises(ValueError) as caught:
                await call
            assert str(caught.value) == f"A Stream Socket was expected, got {datagrams!r}"


async def test_a_protocol_that_cannot_be_made(listening):
    loop = asyncio.get_running_loop()

    def factory():
        raise RuntimeError("no protocol today")

    with pytest.raises(RuntimeError, match="^no protocol today$"):
        await loop.create_connection(factory, *listening.getsockname())
    sock = socket.create_connection(listening.getsockname())
    with pytest.raises(RuntimeError, match="^no protocol today$"):
        await loop.create_connection(factory, sock=sock)
    # Ours to close: it has never become a transport's.
    sock.close()


@pytest.mark.asyncio_since(3, 12)
async def test_a_second_transport_for_one_socket_is_refused(listening):
    loop = asyncio.get_running_loop()
    sock = socket.create_connection(listening.getsockname())
    transport, protocol = await loop.create_connection(Recorder, sock=sock)
    with pytest.raises(RuntimeError, match="is used by transport"):
        await loop.create_connection(Recorder, sock=sock)
    transport.close()
    await protocol.lost


def test_debug_mode_logs_connections(run, listening, caplog):
    async def main():
        loop = asyncio.get_running_loop()
        host, port = listening.getsockname()
        transport, protocol = await loop.create_connection(Recorder, host, port)
        transport.close()
        await protocol.lost
        return f" connected to {host}:{port!r}: ("

    with caplog.at_level(logging.DEBUG, "asyncio"):
        text = run(main(), debug=True)
    assert text in caplog.text


async def test_streams(listening):
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    peer, _ = await loop.sock_accept(listening)
    with peer:
        writer.write(b"ping\n")
        await writer.drain()
        assert await loop.sock_recv(peer, 100) == b"ping\n"
        await loop.sock_sendall(peer, b"pong\nrest")
        assert await reader.readline() == b"pong\n"
    assert await reader.read() == b"rest"
    writer.close()
    await writer.wait_closed()
