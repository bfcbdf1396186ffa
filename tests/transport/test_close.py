import asyncio
import gc
import os
import socket
import sys
import warnings
import weakref

import penstock
import pytest

CALLS = [
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
]


async def provoke(transport, sock, name):
    """Do what leads to the call of that name."""
    if name == "data_received":
        sock.sendall(b"x")
    elif name == "eof_received":
        sock.shutdown(socket.SHUT_WR)
    elif name == "connection_lost":
        transport.close()
    elif name in ("pause_writing", "resume_writing"):
        transport.set_write_buffer_limits(high=0)
        while not transport.get_write_buffer_size() and not transport.is_closing():
            transport.write(b"x" * 65536)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        while name == "resume_writing" and transport.get_write_buffer_size():
            await loop.sock_recv(sock, 1 << 16)


@pytest.mark.parametrize("how", ["close", "abort", "close abort", "abort close", "close close"])
@pytest.mark.parametrize("name", CALLS)
async def test_closing_in_every_callback(new_loop, connect, pair, reports, name, how):
    if name == "resume_writing" and new_loop is not penstock.new_event_loop:
        pytest.skip("asyncio calls connection_lost() twice, and fails")

    def end(protocol, *_):
        for method in how.split():
            getattr(protocol.transport, method)()

    seen = reports()
    transport, protocol = await connect(**{name: end})
    await provoke(transport, pair[1], name)
    if name == "pause_writing" and how.startswith("close") and "abort" not in how:
        # What was written before close() still has to leave.
        pair[1].setblocking(False)
        loop = asyncio.get_running_loop()
        while await loop.sock_recv(pair[1], 1 << 16):
            pass
    assert await protocol.lost is None
    await asyncio.sleep(0)
    assert protocol.calls.count("connection_lost") == 1
    assert seen == [] and pair[0].fileno() == -1


@pytest.mark.parametrize("name", CALLS)
async def test_writing_in_every_callback(connect, pair, reports, name):
    seen = reports()
    transport, protocol = await connect(**{name: lambda p, *_: p.transport.write(b"y")})
    await provoke(transport, pair[1], name)
    await asyncio.sleep(0)
    transport.abort()
    await protocol.lost
    await asyncio.sleep(0)
    assert seen == []


async def test_closing_lets_what_is_queued_leave(connect, pair):
    transport, protocol = await connect()
    total = 0
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
        total += 65536
    transport.close()
    transport.close()
    assert transport.is_closing() and not protocol.lost.done()
    pair[1].setblocking(False)
    loop = asyncio.get_running_loop()
    received = 0
    while some := await loop.sock_recv(pair[1], 1 << 20):
        received += len(some)
    assert received == total
    assert await protocol.lost is None


@pytest.mark.penstock_only("asyncio sends the first, and fails of the others")
async def test_what_is_written_after_the_end_is_dropped(connect, pair, reports):
    seen = reports()
    transport, protocol = await connect(connection_lost=lambda p, *_: p.transport.write(b"late"))
    data = b"x" * 65536
    total = 0
    while not transport.get_write_buffer_size():
        transport.write(data)
        total += len(data)
    transport.close()  # with something left to send: asyncio then forgets that it has ended
    pair[1].setblocking(False)
    loop = asyncio.get_running_loop()
    while some := await loop.sock_recv(pair[1], 1 << 20):
        total -= len(some)
    await protocol.lost
    transport.write(b"later")
    transport.abort()
    await asyncio.sleep(0)
    assert total == 0 and seen == [] and protocol.calls.count("connection_lost") == 1


@pytest.mark.asyncio_until(3, 12)
async def test_lines_while_it_closes(connect, pair, reports):
    seen = reports()
    transport, protocol = await connect()
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
    transport.close()
    transport.writelines([b"one", b"two"])
    transport.abort()
    assert await protocol.lost is None
    assert seen == []


async def test_aborting_drops_what_is_queued(connect):
    transport, protocol = await connect()
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
    transport.abort()
    assert transport.get_write_buffer_size() == 0
    assert not protocol.lost.done()  # never from within
    transport.abort()
    assert await protocol.lost is None


async def test_a_closed_transport_takes_no_more_data(connect, pair):
    transport, protocol = await connect()
    transport.close()
    transport.write(b"x")
    transport.write_eof()
    await protocol.lost
    await asyncio.sleep(0)
    assert pair[1].recv(10) == b""
    transport.close()
    transport.abort()
    transport.write_eof()
    assert transport.get_write_buffer_size() == 0
    assert transport.get_protocol() is None
    transport.set_write_buffer_limits()


@pytest.mark.penstock_only("asyncio fails where a socket is closed behind its back")
async def test_an_unrelated_connection_is_untouched(connect, pair, recorder):
    """Neither a late close() nor a socket that was closed behind our back hits the next owner."""
    loop = asyncio.get_running_loop()
    transport, protocol = await connect()
    number = pair[0].fileno()
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
    pair[0].close()
    near, far = socket.socketpair()
    with far:
        if near.fileno() != number:
            other, near = near, socket.socket(fileno=os.dup2(near.fileno(), number))
            other.close()
        near.setblocking(False)
        transport.abort()
        await protocol.lost
        second, bystander = await loop.create_connection(recorder, sock=near)
        transport.close()
        transport.abort()
        far.sendall(b"still here")
        while not bystander.data:
            await asyncio.sleep(0)
        second.write(b"and there")
        assert far.recv(100) == b"and there"
        second.close()
        await bystander.lost


def test_a_transport_that_is_dropped_warns_and_closes_its_socket(loop, pair, recorder):
    async def main():
        transport, protocol = await loop.create_connection(recorder, sock=pair[0])
        transport.pause_reading()  # the loop keeps it no longer
        protocol.transport = None
        name = repr(transport)
        with pytest.warns(ResourceWarning) as caught:
            del transport
            gc.collect()
        assert [str(warning.message) for warning in caught] == [f"unclosed transport {name}"]
        assert pair[0].fileno() == -1
        assert protocol.calls == ["connection_made"]

    loop.run_until_complete(main())


def test_a_loop_that_is_closed_lets_its_transports_go(new_loop, pair, recorder):
    loop = new_loop()

    async def main():
        transport, _protocol = await asyncio.get_running_loop().create_connection(
            recorder, sock=pair[0]
        )
        return weakref.ref(transport)

    reference = loop.run_until_complete(main())
    gc.collect()
    assert reference() is not None  # it reads: the loop keeps it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop.close()
        del loop
        gc.collect()
    assert reference() is None
    assert pair[0].fileno() == -1


def test_closing_after_the_loop_is_an_error(new_loop, pair, recorder):
    loop = new_loop()
    transport, _ = loop.run_until_complete(_made(loop, recorder, pair[0]))
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        transport.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del transport, _
        gc.collect()


async def _made(loop, factory, sock):
    return await loop.create_connection(factory, sock=sock)


async def test_transports_and_protocols_leave_nothing_behind(pair, recorder):
    loop = asyncio.get_running_loop()
    references = []
    for _ in range(50):
        near, far = socket.socketpair()
        with far:
            transport, protocol = await loop.create_connection(recorder, sock=near)
            transport.extra_attribute = transport  # a cycle
            far.sendall(b"x")
            while not protocol.data:
                await asyncio.sleep(0)
            references += [weakref.ref(transport), weakref.ref(protocol), weakref.ref(near)]
            transport.close()
            await protocol.lost
        del near, transport, protocol
    await asyncio.sleep(0)
    gc.collect()
    assert [reference() for reference in references if reference() is not None] == []


async def test_nothing_is_collected_too_early(connect, pair, until):
    transport, protocol = await connect()
    data = protocol.data
    lost = protocol.lost
    del transport, protocol
    gc.collect()
    pair[1].sendall(b"x")
    await until(lambda: data == b"x")
    pair[1].shutdown(socket.SHUT_WR)
    assert await lost is None


@pytest.mark.memory
async def test_memory_is_flat(recorder):
    loop = asyncio.get_running_loop()

    async def rounds(count):
        for _ in range(count):
            near, far = socket.socketpair()
            with far:
                transport, protocol = await loop.create_connection(recorder, sock=near)
                far.send(b"x")
                transport.write(b"y" * 1000)
                transport.close()
                await protocol.lost

    await rounds(50)
    gc.collect()
    blocks = sys.getallocatedblocks()
    await rounds(300)
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 300


async def test_ten_thousand_cancelled_connections(fds, recorder):
    """Cancelled at every await point in turn; no descriptor is left and a bystander lives."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: recorder(), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    witness, protocol = await loop.create_connection(recorder, *address)
    await asyncio.sleep(0.01)
    before = len(fds())
    rounds = 10_000 if isinstance(loop, penstock.Loop) else 500
    for i in range(rounds):
        task = asyncio.create_task(_connect(loop, recorder, address))
        for _ in range(i % 7):
            await asyncio.sleep(0)
        task.cancel()
        try:
            transport = await task
        except asyncio.CancelledError:
            continue
        transport.abort()
    witness.write(b"alive")
    for _ in range(50):
        await asyncio.sleep(0)
    gc.collect()
    while len(fds()) > before:
        await asyncio.sleep(0.01)
    assert not protocol.lost.done()
    witness.close()
    await protocol.lost
    server.close()
    await asyncio.sleep(0.05)


async def _connect(loop, factory, address):
    transport, _ = await loop.create_connection(factory, *address)
    return transport
