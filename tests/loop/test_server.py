"""create_server and Server."""

import asyncio
import errno
import gc
import logging
import socket
import warnings

import pytest


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Keeper(asyncio.Protocol):
    """Remembers the connections that are made, and lets one wait for them."""

    def __init__(self):
        self.transports = asyncio.Queue()

    def __call__(self):
        return self

    def connection_made(self, transport):
        self.transports.put_nowait(transport)


def address_of(server):
    return server.sockets[0].getsockname()


async def test_it_serves():
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Echo, "127.0.0.1", 0) as server:
        assert server.is_serving()
        assert server.get_loop() is loop
        assert isinstance(server, asyncio.Server)
        (listening,) = server.sockets
        assert type(listening).__name__ == "TransportSocket"
        assert repr(server) == f"<Server sockets={server.sockets!r}>"
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"hello")
        assert await reader.read(10) == b"hello"
        writer.close()
        await writer.wait_closed()
    assert server.sockets == ()
    assert not server.is_serving()


async def test_many_clients_at_once():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)

    async def talk(number):
        reader, writer = await asyncio.open_connection(*address_of(server))
        message = b"%d" % number
        writer.write(message)
        assert await reader.read(10) == message
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*[talk(number) for number in range(200)])
    server.close()
    await server.wait_closed()


async def test_start_server_of_streams():
    async def serve(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()


async def test_several_hosts():
    loop = asyncio.get_running_loop()
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.1"]
    server = await loop.create_server(Echo, hosts, 0)
    assert {sock.getsockname()[0] for sock in server.sockets} == {"127.0.0.1", "127.0.0.2"}
    assert len(server.sockets) == 2
    server.close()


@pytest.mark.parametrize("host", ["", None])
async def test_all_interfaces(host):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, host, 0, family=socket.AF_INET)
    assert [sock.getsockname()[0] for sock in server.sockets] == ["0.0.0.0"]
    server.close()


async def test_a_name():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "localhost", 0, family=socket.AF_INET)
    assert address_of(server)[0] == "127.0.0.1"
    server.close()


async def test_a_socket_of_ones_own():
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await loop.create_server(Echo, sock=sock)
    assert sock.getblocking() is False
    assert address_of(server) == sock.getsockname()
    server.close()
    assert sock.fileno() == -1


async def test_options():
    loop = asyncio.get_running_loop()

    async def options(**arguments):
        server = await loop.create_server(Echo, "127.0.0.1", 0, **arguments)
        (sock,) = server.sockets
        found = tuple(
            bool(sock.getsockopt(socket.SOL_SOCKET, option))
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
        )
        server.close()
        return found

    assert await options() == (True, False)
    assert await options(reuse_address=False) == (False, False)
    assert await options(reuse_port=True) == (True, True)


@pytest.mark.asyncio_since(3, 13)
async def test_keep_alive():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, keep_alive=True)
    assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    server.close()


async def test_two_servers_share_a_port():
    loop = asyncio.get_running_loop()
    first = await loop.create_server(Echo, "127.0.0.1", 0, reuse_port=True)
    second = await loop.create_server(Echo, *address_of(first), reuse_port=True)
    assert address_of(first) == address_of(second)
    first.close()
    second.close()


async def test_an_address_that_is_taken(listening):
    loop = asyncio.get_running_loop()
    address = listening.getsockname()
    with pytest.raises(OSError) as caught:
        await loop.create_server(Echo, *address, reuse_address=False)
    assert caught.value.errno == errno.EADDRINUSE
    assert f"error while attempting to bind on address {address!r}: " in str(caught.value)
    assert str(caught.value).endswith("address already in use")


@pytest.mark.asyncio_since(3, 13)
async def test_an_address_of_another_machine():
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match=r"^could not bind on any address out of \[\('192.0.2.1', 0"):
        await loop.create_server(Echo, "192.0.2.1", 0)


async def test_one_bad_host_among_good_ones_leaves_nothing(listening):
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError):
        await loop.create_server(Echo, ["127.0.0.2", "127.0.0.1"], listening.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "Neither host/port nor sock were specified"),
        ({"port": 0, "ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
        (
            {"port": 0, "ssl_handshake_timeout": 1},
            ValueError,
            "ssl_handshake_timeout is only meaningful with ssl",
        ),
        (
            {"port": 0, "ssl_shutdown_timeout": 1},
            ValueError,
            "ssl_shutdown_timeout is only meaningful with ssl",
        ),
    ],
)
async def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error) as caught:
        await asyncio.get_running_loop().create_server(Echo, **arguments)
    assert str(caught.value) == message


async def test_wrong_sockets():
    loop = asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(ValueError) as caught:
            await loop.create_server(Echo, sock=datagrams)
        assert str(caught.value) == f"A Stream Socket was expected, got {datagrams!r}"
        with pytest.raises(ValueError) as caught:
            await loop.create_server(Echo, port=0, sock=datagrams)
        assert str(caught.value) == "host/port and sock can not be specified at the same time"


async def test_starting_later():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
    assert not server.is_serving()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address_of(server))
    await server.start_serving()
    await server.start_serving()
    assert server.is_serving()
    _, writer = await asyncio.open_connection(*address_of(server))
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


@pytest.mark.penstock_only("asyncio: a TypeError of its own code, after which it says it serves")
async def test_a_closed_server_does_not_start():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
    server.close()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.start_serving()
    assert not server.is_serving()


class TestServeForever:
    async def test_cancelling_closes(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, start_serving=False)
        task = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        assert server.is_serving()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.sockets == ()

    async def test_closing_cancels(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        task = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_only_one_at_a_time(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        task = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="is already being awaited on serve_forever"):
            await server.serve_forever()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(RuntimeError, match=r"^server <Server sockets=\(\)> is closed$"):
            await server.serve_forever()


class TestClosing:
    async def test_twice(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        server.close()
        server.close()
        await server.wait_closed()
        await server.wait_closed()

    async def test_new_connections_are_refused_and_old_ones_stay(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = address_of(server)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"before")
        assert await reader.read(10) == b"before"
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        writer.write(b"after")
        assert await reader.read(10) == b"after"
        writer.close()
        await writer.wait_closed()
        await server.wait_closed()

    @pytest.mark.asyncio_since(3, 12, 1)
    async def test_wait_closed_waits_for_connections(self):
        loop = asyncio.get_running_loop()
        keeper = Keeper()
        server = await loop.create_server(keeper, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*address_of(server))
        transport = await keeper.transports.get()
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        assert not waiting.done()
        server.close()
        await asyncio.sleep(0)
        assert not waiting.done()
        transport.close()
        await waiting
        writer.close()
        await writer.wait_closed()

    @pytest.mark.asyncio_since(3, 12, 1)
    async def test_wait_closed_waits_for_the_server(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        assert not waiting.done()
        server.close()
        await waiting

    @pytest.mark.asyncio_since(3, 12, 1)
    @pytest.mark.parametrize("listens", ["tcp", "unix"])
    async def test_all_who_wait_wait_for_the_last_connection(self, listens, tmp_path):
        """However each of them ends: by the server, by its client, or torn down."""
        loop = asyncio.get_running_loop()
        keeper = Keeper()
        if listens == "tcp":
            server = await loop.create_server(keeper, "127.0.0.1", 0)
            streams = [await asyncio.open_connection(*address_of(server)) for _ in range(3)]
        else:
            path = tmp_path / "socket"
            server = await loop.create_unix_server(keeper, path)
            streams = [await asyncio.open_unix_connection(path) for _ in range(3)]
        first, second, third = [await keeper.transports.get() for _ in streams]
        waiting = [asyncio.create_task(server.wait_closed()) for _ in range(2)]
        server.close()

        async def some_turns_later():
            for _ in range(5):
                await asyncio.sleep(0)
            return [task.done() for task in waiting]

        assert await some_turns_later() == [False, False]
        first.close()
        assert await some_turns_later() == [False, False]
        second.abort()
        assert await some_turns_later() == [False, False]
        assert not third.is_closing()
        for _, writer in streams:
            writer.close()
        await asyncio.gather(*waiting)
        assert third.is_closing()
        await server.wait_closed()
        for _, writer in streams:
            await writer.wait_closed()

    @pytest.mark.asyncio_since(3, 12, 1)
    async def test_wait_closed_waits_for_what_a_closed_connection_still_sends(self):
        loop = asyncio.get_running_loop()
        keeper = Keeper()
        server = await loop.create_server(keeper, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*address_of(server))
        transport = await keeper.transports.get()
        much = b"x" * 8_000_000
        transport.write(much)
        transport.close()
        server.close()
        waiting = asyncio.create_task(server.wait_closed())
        for _ in range(5):
            await asyncio.sleep(0)
        assert transport.get_write_buffer_size() > 0 and not waiting.done()
        assert await reader.read() == much
        await waiting
        writer.close()
        await writer.wait_closed()

    @pytest.mark.asyncio_since(3, 12, 1)
    async def test_wait_closed_of_a_server_whose_connections_are_all_gone(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*address_of(server))
        writer.close()
        await writer.wait_closed()
        waiting = asyncio.create_task(server.wait_closed())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done(), "it takes connections still"
        server.close()
        await waiting

    @pytest.mark.asyncio_since(3, 12, 1)
    async def test_the_end_of_a_with_block_waits_for_connections(self):
        loop = asyncio.get_running_loop()
        keeper = Keeper()
        left = []

        async def serve():
            async with server:
                pass
            left.append(True)

        server = await loop.create_server(keeper, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*address_of(server))
        await keeper.transports.get()
        task = asyncio.create_task(serve())
        for _ in range(5):
            await asyncio.sleep(0)
        assert left == [] and server.sockets == ()
        writer.close()
        await task
        assert left == [True]
        await writer.wait_closed()

    @pytest.mark.asyncio_since(3, 13)
    @pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
    async def test_clients_that_are_closed_leave_the_server_open(self, how):
        """close() is another call; what connects afterwards is served, and waited for."""
        loop = asyncio.get_running_loop()
        keeper = Keeper()
        server = await loop.create_server(keeper, "127.0.0.1", 0)
        streams = [await asyncio.open_connection(*address_of(server)) for _ in range(3)]
        transports = [await keeper.transports.get() for _ in streams]
        getattr(server, how)()
        assert all(transport.is_closing() for transport in transports)
        assert server.is_serving()
        for reader, _ in streams:
            assert await reader.read() == b""
        streams.append(await asyncio.open_connection(*address_of(server)))
        late = await keeper.transports.get()
        assert not late.is_closing()
        waiting = asyncio.create_task(server.wait_closed())
        server.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        getattr(server, how)()
        await waiting
        assert late.is_closing()
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()

    async def test_a_cancelled_wait(self):
        loop = asyncio.get_running_loop()
        keeper = Keeper()
        server = await loop.create_server(keeper, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*address_of(server))
        transport = await keeper.transports.get()
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        waiting.cancel()
        server.close()
        transport.close()
        await asyncio.wait([waiting])
        await server.wait_closed()
        writer.close()
        await writer.wait_closed()

    @pytest.mark.asyncio_since(3, 13)
    @pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
    async def test_connections_can_be_closed_too(self, how):
        loop = asyncio.get_running_loop()
        keeper = Keeper()
        server = await loop.create_server(keeper, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*address_of(server))
        transport = await keeper.transports.get()
        server.close()
        getattr(server, how)()
        assert transport.is_closing()
        await server.wait_closed()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    @pytest.mark.asyncio_since(3, 13)
    async def test_close_clients_sends_what_is_buffered_and_abort_does_not(self):
        loop = asyncio.get_running_loop()
        much = b"x" * 8_000_000
        for how, everything in (("close_clients", True), ("abort_clients", False)):
            keeper = Keeper()
            server = await loop.create_server(keeper, "127.0.0.1", 0)
            reader, writer = await asyncio.open_connection(*address_of(server))
            transport = await keeper.transports.get()
            transport.write(much)
            assert transport.get_write_buffer_size() > 0
            server.close()
            getattr(server, how)()
            received = 0
            while data := await reader.read(1_000_000):
                received += len(data)
            assert (received == len(much)) is everything
            await server.wait_closed()
            writer.close()
            await writer.wait_closed()

    @pytest.mark.asyncio_since(3, 13)
    async def test_a_transport_that_is_dropped_keeps_nobody_waiting(self):
        loop = asyncio.get_running_loop()
        made = loop.create_future()

        class Forgetful(asyncio.Protocol):
            def connection_made(self, transport):
                transport.pause_reading()
                made.set_result(None)

        server = await loop.create_server(Forgetful, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*address_of(server))
        await made
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for _ in range(3):
                await asyncio.sleep(0)
                gc.collect()
        server.close()
        async with asyncio.timeout(5):
            await server.wait_closed()
        writer.close()
        await writer.wait_closed()


async def test_a_protocol_that_cannot_be_made_costs_only_its_connection(caplog):
    loop = asyncio.get_running_loop()
    attempts = []

    def factory():
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("not this time")
        return Echo()

    server = await loop.create_server(factory, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*address_of(server))
    # asyncio leaves the refused connection to the garbage collector.
    await asyncio.wait([asyncio.ensure_future(reader.read(1))], timeout=0.05)
    writer.close()
    reader, writer = await asyncio.open_connection(*address_of(server))
    writer.write(b"hello")
    assert await reader.read(10) == b"hello"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


def test_debug_mode_logs_servers(run, caplog):
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        text = f"{server!r} is serving"
        server.close()
        return text

    with caplog.at_level(logging.INFO, "asyncio"):
        text = run(main(), debug=True)
    assert text in caplog.text
