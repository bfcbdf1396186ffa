import asyncio
import contextvars
import errno
import gc
import resource
import socket
import subprocess
import sys

import pytest

variable = contextvars.ContextVar("variable", default="unset")


async def serve(factory, **options):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, **options)
    return server, server.sockets[0].getsockname()


async def finish(server):
    server.close()
    for _ in range(20):
        await asyncio.sleep(0)


async def test_connections_get_a_protocol_each(recorder, until):
    made = []

    def factory():
        made.append(recorder())
        return made[-1]

    server, address = await serve(factory, backlog=200)
    clients = [socket.create_connection(address) for _ in range(150)]
    await until(lambda: len(made) == 150 and all(p.transport for p in made))
    peers = {p.transport.get_extra_info("peername") for p in made}
    assert peers == {client.getsockname() for client in clients}
    sock = made[0].transport.get_extra_info("socket")
    assert sock.gettimeout() == 0.0 and sock.type == socket.SOCK_STREAM
    assert (sock.family, sock.proto) == (socket.AF_INET, socket.IPPROTO_TCP)
    assert made[0].transport.get_extra_info("sockname") == address
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    for client in clients:
        client.close()
    await asyncio.gather(*(p.lost for p in made))
    await finish(server)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="CPython 3.15 has brought it")
async def test_a_connection_starts_from_its_servers_context_and_has_one_of_its_own(recorder, until):
    seen = []

    def note(name):
        seen.append((name, variable.get()))
        variable.set(name)

    def factory():
        note("factory")
        return recorder(
            connection_made=lambda *_: note("made"),
            data_received=lambda *_: note("data"),
            connection_lost=lambda *_: note("lost"),
        )

    variable.set("server")
    server, address = await serve(factory, start_serving=False)
    variable.set("serving")
    await server.start_serving()
    for _ in range(2):
        seen.clear()
        with socket.create_connection(address) as client:
            client.sendall(b"x")
            await until(lambda: ("data", "made") in seen)
        await until(lambda: len(seen) == 4)
        assert seen == [
            ("factory", "server"),
            ("made", "factory"),
            ("data", "made"),
            ("lost", "data"),
        ]
    await finish(server)


async def test_the_factory_runs_in_the_context_of_serving(recorder, until):
    seen = []

    def factory():
        seen.append(variable.get())
        variable.set("factory")
        return recorder(connection_made=lambda _: seen.append(variable.get()))

    variable.set("serving")
    server, address = await serve(factory)
    variable.set("later")
    for _ in range(2):
        with socket.create_connection(address):
            count = len(seen)
            await until(lambda count=count: len(seen) == count + 2)
    assert seen == ["serving", "factory"] * 2
    await finish(server)


async def accepted(recorder, until, server_of=serve, **then):
    """A client and the accepted end's Recorder, and what ends both."""
    made = []

    def factory():
        made.append(recorder(**then))
        return made[-1]

    server, address = await server_of(factory)
    client = socket.create_connection(address[:2])
    await until(lambda: made and made[0].transport is not None)

    async def end():
        client.close()
        await made[0].lost
        await finish(server)

    return client, made[0], end


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("protocol", [0, socket.IPPROTO_TCP])
async def test_the_socket_of_a_connection_is_as_accept_makes_it(recorder, until, host, protocol):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, protocol)
    listening.bind((host, 0))

    async def serve_on(factory):
        server = await asyncio.get_running_loop().create_server(factory, sock=listening)
        return server, listening.getsockname()

    client, protocol_object, end = await accepted(recorder, until, serve_on)
    transport = protocol_object.transport
    shown = transport.get_extra_info("socket")
    assert transport.get_extra_info("socket") is shown
    assert (shown.family, shown.type, shown.proto) == (family, socket.SOCK_STREAM, protocol)
    assert shown.gettimeout() == 0.0 and not shown.get_inheritable()
    assert shown.fileno() == transport._sock.fileno() == transport._sock_fd
    assert type(transport._sock) is socket.socket
    assert shown.getpeername() == client.getsockname() == transport.get_extra_info("peername")
    await end()
    assert shown.fileno() == -1 and transport._sock is None


async def test_a_socket_that_is_asked_for_too_late_is_closed(recorder, until):
    client, protocol, end = await accepted(recorder, until)
    peer = client.getsockname()
    await end()
    shown = protocol.transport.get_extra_info("socket")
    assert (shown.fileno(), shown.family, shown.proto) == (-1, socket.AF_INET, socket.IPPROTO_TCP)
    assert protocol.transport.get_extra_info("peername") == peer


async def test_a_connection_that_is_dropped_warns_and_is_closed(recorder, until):
    client, protocol, end = await accepted(recorder, until)
    for _ in range(5):  # what begins it has run
        await asyncio.sleep(0)
    protocol.transport.pause_reading()
    protocol.lost.cancel()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del protocol.transport
        protocol = None
        gc.collect()
    client.settimeout(10)
    with client:
        assert client.recv(1) == b""
    with pytest.raises((AttributeError, asyncio.CancelledError)):
        await end()


async def test_a_factory_that_fails_leaves_a_socket_that_warns(until):
    def factory():
        raise ZeroDivisionError

    server, address = await serve(factory)
    with pytest.warns(ResourceWarning, match="unclosed <socket"):
        with socket.create_connection(address) as client:
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
        gc.collect()
    await finish(server)


AUDITED = """
import asyncio, socket, sys
import penstock

async def main():
    told, transports = [], []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            transports.append(transport)

    def factory():
        told.append("factory")
        return Protocol()

    def hook(event, arguments):
        if event == "socket.__new__":
            told.append(arguments[1:])
            if transports and asks:
                asks.pop()
                transports[0]._sock

    async def connect():
        count = len(transports)
        client = socket.create_connection(address)
        while len(transports) == count:
            await asyncio.sleep(0)
        return client

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    asks = []
    first = await connect()
    sys.addaudithook(hook)
    asks.append(None)  # another one is made while the first is being made
    sock = transports[0]._sock
    assert sock is transports[0]._sock and sock.getpeername() == first.getsockname()
    del told[:]
    second = await connect()
    new = (socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    assert told[-2:] == [new, "factory"], told
    for client in first, second:
        client.sendall(b"x")
    server.close()
    for transport in transports:
        transport.abort()
    for client in first, second:
        client.close()

penstock.run(main())
"""


UNASKED = """
import asyncio, gc, socket
import penstock

class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        made.set_result(transport)

    def connection_lost(self, error):
        lost.set_result(error)

async def main():
    global made, lost
    loop = asyncio.get_running_loop()
    made, lost = loop.create_future(), loop.create_future()
    server = await loop.create_server(Protocol, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    transport = await made
    there = [one for one in gc.get_referents(transport) if type(one) is socket.socket]
    assert there == [] and not transport.is_closing()
    assert "closed" not in repr(transport)
    transport.write(b"x")
    assert client.recv(1) == b"x"
    client.close()
    assert await lost is None and "closed" in repr(transport)
    server.close()

penstock.run(main())
"""


# In a process of their own: who audits does so until its process ends, and some of the packages
# that other tests use do.
@pytest.mark.parametrize("script", [UNASKED, AUDITED], ids=["nobody", "an audit hook"])
def test_there_is_no_socket_object_unless_somebody_sees_it(script):
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("debug", [False, True])
async def test_a_failing_factory_costs_only_its_connection(recorder, reports, until, debug):
    asyncio.get_running_loop().set_debug(debug)
    made = []

    def factory():
        made.append(None)
        if len(made) == 1:
            raise ValueError("factory")
        return recorder()

    seen = reports()
    server, address = await serve(factory)
    with socket.create_connection(address) as client:
        client.settimeout(10)
        await until(lambda: made and len(seen) == debug)
        message = "Error on transport creation for incoming connection"
        assert [context["message"] for context in seen] == [message] * debug
        seen.clear()  # the exception's frames hold the socket
        await asyncio.sleep(0)
        gc.collect()
        assert client.recv(1) == b""
    with socket.create_connection(address):
        await until(lambda: len(made) == 2)
    await asyncio.sleep(0.01)
    await finish(server)


@pytest.mark.penstock_only("asyncio's server drops the connection that it has accepted")
async def test_the_server_may_be_closed_in_the_factory(recorder, until):
    made = []

    def factory():
        server.close()
        made.append(recorder())
        return made[-1]

    server, address = await serve(factory)
    clients = [socket.create_connection(address) for _ in range(3)]
    await until(lambda: made)
    for client in clients:
        client.close()
    await asyncio.gather(*(p.lost for p in made))


async def test_out_of_descriptors_it_tries_again_later(recorder, reports, monkeypatch, until):
    monkeypatch.setattr(asyncio.constants, "ACCEPT_RETRY_DELAY", 0.05)
    made = []

    def factory():
        made.append(recorder())
        return made[-1]

    seen = reports()
    server, address = await serve(factory)
    listening = server.sockets[0]
    client = socket.create_connection(address)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        await until(lambda: seen)
        for _ in range(10):
            await asyncio.sleep(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    # asyncio goes on trying, and reports each of them.
    assert {context["message"] for context in seen} == {"socket.accept() out of system resource"}
    assert seen[0]["exception"].errno == errno.EMFILE
    assert seen[0]["socket"].fileno() == listening.fileno()
    assert made == []
    await until(lambda: made)
    client.close()
    await made[0].lost
    await finish(server)


@pytest.mark.penstock_only("asyncio watches the closed socket again")
async def test_a_server_that_is_closed_while_out_of_descriptors(
    recorder, reports, monkeypatch, until
):
    monkeypatch.setattr(asyncio.constants, "ACCEPT_RETRY_DELAY", 0.01)
    seen = reports()
    server, address = await serve(recorder)
    client = socket.create_connection(address)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        await until(lambda: seen)
        server.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await asyncio.sleep(0.03)
    client.close()
    assert len(seen) == 1


async def test_a_socket_that_does_not_listen_any_more(recorder, reports, until):
    seen = reports()
    server, _address = await serve(recorder)
    listening = server.sockets[0]
    sock = socket.socket(fileno=socket.dup(listening.fileno()))
    with sock:
        sock.shutdown(socket.SHUT_RDWR)
        await until(lambda: seen)
    assert isinstance(seen[0]["exception"], OSError)
    assert "_accept_connection" in seen[0]["message"]
    await finish(server)


@pytest.mark.asyncio_since(3, 13)
async def test_the_server_knows_its_clients(recorder, until):
    made = []

    def factory():
        made.append(recorder())
        return made[-1]

    server, address = await serve(factory)
    clients = [socket.create_connection(address) for _ in range(5)]
    await until(lambda: len(made) == 5 and all(p.transport for p in made))
    closed = asyncio.create_task(server.wait_closed())
    server.close()
    await asyncio.sleep(0.01)
    assert not closed.done()
    server.abort_clients()
    await asyncio.wait_for(closed, 10)
    assert all(p.lost.done() for p in made)
    for client in clients:
        client.close()


async def test_an_fd_of_a_transport_is_not_for_others(connect, pair):
    loop = asyncio.get_running_loop()
    transport, protocol = await connect()
    number = pair[0].fileno()
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match=f"File descriptor {number} is used by transport"):
            method(number, print)
    with pytest.raises(RuntimeError, match="is used by transport"):
        loop.remove_reader(number)
    transport.close()
    await protocol.lost


@pytest.mark.asyncio_since(3, 12)
async def test_a_socket_of_a_transport_is_not_for_another(connect, pair, recorder):
    transport, protocol = await connect()
    with pytest.raises(RuntimeError, match="is used by transport"):
        await asyncio.get_running_loop().create_connection(recorder, sock=pair[0])
    transport.close()
    await protocol.lost
