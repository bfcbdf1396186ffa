"""The datagram transport: sending, receiving, errors, flow control and endings."""

import asyncio
import contextvars
import gc
import re
import socket
import sys
import warnings
import weakref
from asyncio.trsock import TransportSocket

import pytest

variable = contextvars.ContextVar("variable", default="unset")
HEADER = 8 if sys.version_info >= (3, 13) else 0


async def test_who_opens_it_has_a_turn_before_the_first_datagram(recorder):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with far:
        far.send(b"early")
        transport, protocol = await loop.create_datagram_endpoint(recorder, sock=near)
        assert protocol.calls == ["connection_made"]
        data, _ = await protocol.received.get()
        assert data == b"early"
        transport.close()
        await protocol.lost


async def test_what_it_is(endpoint):
    transport, protocol = await endpoint()
    assert isinstance(transport, asyncio.Transport)
    if sys.version_info >= (3, 12):
        assert isinstance(transport, asyncio.DatagramTransport)
    transport.colour = "red"
    assert vars(transport)["colour"] == "red"
    sock = transport.get_extra_info("socket")
    assert isinstance(sock, TransportSocket)
    assert transport.get_extra_info("nothing", 42) == 42
    assert transport.get_protocol() is protocol
    assert transport.is_reading() and not transport.is_closing()
    fd = sock.fileno()
    pattern = rf"<\w*DatagramTransport fd={fd} read=polling write=<idle, bufsize=0>>"
    assert re.fullmatch(pattern, repr(transport))
    transport.close()
    pattern = rf"<\w*DatagramTransport closing fd={fd} read=idle write=<idle, bufsize=0>>"
    assert re.fullmatch(pattern, repr(transport))
    await protocol.lost
    assert re.fullmatch(rf"<\w*DatagramTransport closed fd={fd}>", repr(transport))
    assert transport.is_closing() and not transport.is_reading()


async def test_another_protocol_takes_over(endpoint, recorder, peer):
    transport, first = await endpoint()
    second = recorder()
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    peer.sendto(b"x", transport.get_extra_info("sockname"))
    assert await second.received.get() == (b"x", peer.getsockname())
    transport.close()
    await second.lost
    assert first.calls == ["connection_made"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_kinds_of_data(endpoint, peer, kind):
    transport, protocol = await endpoint()
    transport.sendto(kind(b"data"), peer.getsockname())
    transport.sendto(data=kind(b"by name"), addr=peer.getsockname())
    assert peer.recv(10) == b"data" and peer.recv(10) == b"by name"
    transport.close()
    await protocol.lost


async def test_refused_data(endpoint, peer):
    transport, protocol = await endpoint(remote_addr=peer.getsockname())
    for data, name in (("text", "str"), (None, "NoneType"), (1, "int"), ([b"x"], "list")):
        with pytest.raises(TypeError) as caught:
            transport.sendto(data)
        assert str(caught.value) == f"data argument must be a bytes-like object, not '{name}'"
    for call in (
        lambda: transport.sendto(),
        lambda: transport.sendto(b"x", None, None),
        lambda: transport.sendto(b"x", wrong=1),
    ):
        with pytest.raises(TypeError):
            call()
    transport.close()
    await protocol.lost


async def test_only_the_remote_address_will_do(endpoint, peer):
    address = peer.getsockname()
    transport, protocol = await endpoint(remote_addr=address)
    transport.sendto(b"one")
    transport.sendto(b"two", address)
    transport.sendto(b"three", (str(address[0]), int(address[1])))
    assert [peer.recv(10) for _ in range(3)] == [b"one", b"two", b"three"]
    with pytest.raises(ValueError) as caught:
        transport.sendto(b"x", ("127.0.0.1", 1))
    assert str(caught.value) == f"Invalid address: must be None or {address}"
    transport.close()
    await protocol.lost


async def test_empty_datagrams(endpoint, peer):
    transport, protocol = await endpoint(remote_addr=peer.getsockname())
    transport.sendto(b"")
    transport.sendto(b"behind it")
    if sys.version_info >= (3, 13):
        assert peer.recv(10) == b""
    assert peer.recv(10) == b"behind it"
    peer.sendto(b"", transport.get_extra_info("sockname"))
    assert await protocol.received.get() == (b"", peer.getsockname())
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("size", [1, 1472, 65507])
async def test_sizes(endpoint, size):
    server, answers = await endpoint(
        {"datagram_received": lambda p, data, addr: p.transport.sendto(data, addr)}
    )
    client, protocol = await endpoint(remote_addr=server.get_extra_info("sockname"))
    data = bytes(i % 251 for i in range(size))
    client.sendto(data)
    assert (await protocol.received.get())[0] == data
    client.sendto(bytes(65508))
    assert (await protocol.errors.get()).strerror == "Message too long"
    client.close()
    server.close()
    await protocol.lost
    await answers.lost


async def test_a_large_unix_datagram(endpoint, tmp_path):
    path = str(tmp_path / "socket")
    server, protocol = await endpoint(family=socket.AF_UNIX, local_addr=path)
    client, other = await endpoint(family=socket.AF_UNIX, remote_addr=path)
    data = bytes(range(256)) * 600
    client.sendto(data)
    assert await protocol.received.get() == (data, None)
    client.close()
    server.close()
    await other.lost
    await protocol.lost


async def test_a_closed_port_is_an_error_received(endpoint, closed_port):
    transport, protocol = await endpoint(remote_addr=closed_port)
    transport.sendto(b"anybody?")
    assert isinstance(await protocol.errors.get(), ConnectionRefusedError)
    # It is the send that fails now, or the receive.
    transport.sendto(b"really?")
    assert isinstance(await protocol.errors.get(), ConnectionRefusedError)
    assert not transport.is_closing()
    transport.close()
    assert await protocol.lost is None


async def test_an_unconnected_endpoint_survives_a_closed_port(endpoint, closed_port, peer):
    transport, protocol = await endpoint()
    transport.sendto(b"anybody?", closed_port)
    transport.sendto(b"hello", peer.getsockname())
    assert peer.recv(10) == b"hello"
    peer.sendto(b"world", transport.get_extra_info("sockname"))
    assert await protocol.received.get() == (b"world", peer.getsockname())
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("address", [("no.such.host.invalid", 9)])
async def test_an_unknown_name_is_an_error_received(endpoint, address):
    transport, protocol = await endpoint()
    transport.sendto(b"x", address)
    assert isinstance(await protocol.errors.get(), socket.gaierror)
    transport.close()
    await protocol.lost


async def test_names_in_sendto(endpoint, peer):
    transport, protocol = await endpoint(local_addr=("127.0.0.1", 0))
    for host in ("localhost", "127.0.0.1"):
        transport.sendto(host.encode(), (host, peer.getsockname()[1]))
        assert peer.recv(100) == host.encode()
    transport.close()
    await protocol.lost


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (None, TypeError),
        ("nonsense", TypeError),
        (("127.0.0.1",), TypeError),
        (("127.0.0.1", "9"), TypeError),
        (("127.0.0.1", 9, 0, 0), TypeError),
        (("127.0.0.1", 70000), OverflowError),
        (("127.0.0.1", -1), OverflowError),
        ((9, 9), TypeError),
    ],
)
async def test_an_address_that_is_none_is_fatal(endpoint, reports, address, error):
    seen = reports()
    transport, protocol = await endpoint()
    transport.sendto(b"x", address)
    assert isinstance(await protocol.lost, error)
    assert [context["message"] for context in seen] == ["Fatal write error on datagram transport"]
    assert seen[0]["transport"] is transport and seen[0]["protocol"] is protocol
    assert "error_received" not in protocol.calls


async def test_an_error_that_leaves_error_received_reaches_the_sender(endpoint):
    def fail(*_):
        raise ZeroDivisionError

    transport, protocol = await endpoint({"error_received": fail})
    with pytest.raises(ZeroDivisionError):
        transport.sendto(b"x", ("255.255.255.255", 9))
    transport.close()
    await protocol.lost


@pytest.mark.parametrize("name", ["datagram_received", "error_received"])
async def test_a_failing_protocol_is_reported_and_goes_on(
    endpoint, peer, closed_port, reports, name, until
):
    def fail(*_):
        raise ZeroDivisionError

    seen = reports()
    if name == "datagram_received":
        transport, protocol = await endpoint({name: fail})
        peer.sendto(b"x", transport.get_extra_info("sockname"))
    else:
        transport, protocol = await endpoint({name: fail}, remote_addr=closed_port)
        transport.sendto(b"x")
    await until(lambda: seen)
    assert re.fullmatch(
        r"Exception in callback \w*DatagramTransport\._read_ready\(\)", seen[0]["message"]
    )
    assert isinstance(seen[0]["exception"], ZeroDivisionError)
    assert not transport.is_closing()
    transport.close()
    assert await protocol.lost is None


def test_keyboard_interrupt_ends_the_run(loop, recorder):
    def interrupt(*_):
        raise KeyboardInterrupt

    async def main():
        return await loop.create_datagram_endpoint(
            lambda: recorder(datagram_received=interrupt), local_addr=("127.0.0.1", 0)
        )

    transport, protocol = loop.run_until_complete(main())
    transport.sendto(b"x", transport.get_extra_info("sockname"))
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert not transport.is_closing()
    transport.close()
    loop.run_until_complete(protocol.lost)


async def test_context(endpoint, peer):
    seen = []

    def note(*_):
        seen.append(variable.get())

    variable.set("creator's")
    transport, protocol = await endpoint({"datagram_received": note, "connection_made": note})
    variable.set("changed")
    peer.sendto(b"x", transport.get_extra_info("sockname"))
    await protocol.received.get()
    assert seen == ["creator's", "creator's"]
    transport.close()
    await protocol.lost


async def test_what_the_protocol_schedules_runs_before_the_next_datagram(endpoint, peer):
    order = []
    loop = asyncio.get_running_loop()

    def note(_, data, __):
        order.append(data)
        loop.call_soon(order.append, b"after " + data)

    transport, protocol = await endpoint({"datagram_received": note})
    for data in (b"one", b"two", b"three"):
        peer.sendto(data, transport.get_extra_info("sockname"))
    for _ in range(3):
        await protocol.received.get()
    await asyncio.sleep(0)
    assert order == [b"one", b"after one", b"two", b"after two", b"three", b"after three"]
    transport.close()
    await protocol.lost


async def test_pause_and_resume_reading(endpoint, peer, until):
    transport, protocol = await endpoint(
        {"datagram_received": lambda p, *_: p.transport.pause_reading()}
    )
    for data in (b"one", b"two"):
        peer.sendto(data, transport.get_extra_info("sockname"))
    assert await protocol.received.get() == (b"one", peer.getsockname())
    assert not transport.is_reading()
    for _ in range(10):
        await asyncio.sleep(0)
    assert protocol.received.empty()
    transport.resume_reading()
    assert transport.is_reading()
    assert await protocol.received.get() == (b"two", peer.getsockname())
    transport.close()
    await protocol.lost


async def test_a_flood_leaves_others_their_turn(endpoint, peer):
    """A protocol that answers itself never comes to an end; a timer and a callback still do."""
    transport, protocol = await endpoint(
        {"datagram_received": lambda p, data, addr: p.transport.sendto(data, addr)}
    )
    own = transport.get_extra_info("sockname")
    for _ in range(50):
        transport.sendto(b"round and round", own)
    async with asyncio.timeout(10):
        await asyncio.sleep(0.01)
        for _ in range(100):
            await asyncio.sleep(0)
    assert protocol.received.qsize() > 50
    transport.abort()
    await protocol.lost


async def test_a_thousand_in_order_with_a_slow_reader(endpoint, tmp_path):
    path = str(tmp_path / "socket")
    server, protocol = await endpoint(family=socket.AF_UNIX, local_addr=path)
    client, other = await endpoint(family=socket.AF_UNIX, remote_addr=path)
    server.pause_reading()
    for number in range(1000):
        client.sendto(b"%d" % number)
    assert client.get_write_buffer_size() > 0
    client.close()
    server.resume_reading()
    for number in range(1000):
        assert (await protocol.received.get())[0] == b"%d" % number
    assert await other.lost is None
    server.close()
    await protocol.lost


async def test_a_thousand_in_order_over_udp(endpoint):
    server, protocol = await endpoint(
        {"datagram_received": lambda p, data, addr: p.transport.sendto(data, addr)}
    )
    client, answers = await endpoint(remote_addr=server.get_extra_info("sockname"))
    for first in range(0, 1000, 20):  # as many as fit into a receive buffer for sure
        for number in range(first, first + 20):
            client.sendto(b"%d" % number)
        for number in range(first, first + 20):
            assert (await answers.received.get())[0] == b"%d" % number
    client.close()
    server.close()
    await answers.lost
    await protocol.lost


# ---- flow control --------------------------------------------------------------------------


async def test_a_queue_drains_in_order(full, until):
    transport, protocol, peer, sent = await full(then_send=b"head")
    assert transport.get_write_buffer_size() == 4 + HEADER
    assert re.search(r"write=<polling, bufsize=\d+>", repr(transport))
    data = bytearray(b"tail")
    transport.sendto(data)
    data[:] = b"oops"
    assert transport.get_write_buffer_size() == 2 * (4 + HEADER)
    loop = asyncio.get_running_loop()
    for _ in range(sent):
        assert await loop.sock_recv(peer, 10) == b"head"
    assert await loop.sock_recv(peer, 10) == b"tail"
    await until(lambda: "polling, bufsize" not in repr(transport))
    transport.sendto(b"direct")
    assert await loop.sock_recv(peer, 10) == b"direct"
    transport.close()
    assert await protocol.lost is None


async def test_pause_and_resume_writing(full, counts):
    transport, protocol, peer, sent = await full(then_send=b"x" * 100)
    transport.set_write_buffer_limits(high=1000)
    assert transport.get_write_buffer_limits() == (250, 1000)
    assert "pause_writing" not in protocol.calls
    while "pause_writing" not in protocol.calls:
        transport.sendto(b"x" * 100)
        sent += 1
    assert transport.get_write_buffer_size() > 1000
    transport.sendto(b"x" * 100)
    assert protocol.calls.count("pause_writing") == 1
    loop = asyncio.get_running_loop()
    for _ in range(sent + 1):
        await loop.sock_recv(peer, 1000)
    assert protocol.calls.count("resume_writing") == 1
    transport.close()
    await protocol.lost


async def test_limits(endpoint):
    transport, protocol = await endpoint()
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    with pytest.raises(ValueError, match=re.escape("high (1) must be >= low (2) must be >= 0")):
        transport.set_write_buffer_limits(high=1, low=2)
    transport.close()
    await protocol.lost


async def test_resume_writing_may_send_and_close(full, counts):
    def more(protocol):
        protocol.transport.sendto(b"more")
        protocol.transport.close()

    transport, protocol, peer, _ = await full({"resume_writing": more})
    transport.set_write_buffer_limits(high=0)
    assert protocol.calls[-1] == "pause_writing"
    loop = asyncio.get_running_loop()
    while await loop.sock_recv(peer, 10) != b"more":
        pass
    assert await protocol.lost is None
    assert protocol.calls.count("connection_lost") == 1


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
async def test_a_failing_callback_is_reported_and_the_transport_goes_on(
    full, counts, reports, name, until
):
    def fail(*_):
        raise ValueError(name)

    seen = reports()
    transport, protocol, peer, _ = await full({name: fail})
    transport.set_write_buffer_limits(high=0)
    loop = asyncio.get_running_loop()
    while transport.get_write_buffer_size():
        await loop.sock_recv(peer, 10)
    assert [context["message"] for context in seen] == [f"protocol.{name}() failed"]
    transport.sendto(b"x")
    transport.close()
    assert await protocol.lost is None


async def test_an_error_in_the_queue_concerns_one_datagram(endpoint, tmp_path, until):
    """The receiver of the first that waits disappears; the second still arrives."""
    busy = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with busy, other:
        busy.bind(str(tmp_path / "busy"))
        other.bind(str(tmp_path / "other"))
        other.settimeout(10)
        transport, protocol = await endpoint(family=socket.AF_UNIX)
        while not transport.get_write_buffer_size():
            transport.sendto(b"x", str(tmp_path / "busy"))
        transport.sendto(b"still here", str(tmp_path / "other"))
        busy.close()
        assert isinstance(await protocol.errors.get(), ConnectionRefusedError)
        loop = asyncio.get_running_loop()
        other.setblocking(False)
        assert await loop.sock_recv(other, 100) == b"still here"
        transport.close()
        assert await protocol.lost is None


# ---- endings -------------------------------------------------------------------------------


async def test_close_sends_what_is_queued(full):
    transport, protocol, peer, sent = await full()
    transport.sendto(b"last")
    transport.close()
    transport.close()
    assert transport.is_closing()
    assert protocol.calls == ["connection_made"]
    loop = asyncio.get_running_loop()
    for _ in range(sent):
        assert await loop.sock_recv(peer, 10) == b"full"
    assert await loop.sock_recv(peer, 10) == b"last"
    assert await protocol.lost is None


async def test_abort_drops_what_is_queued(full, until):
    transport, protocol, peer, sent = await full()
    transport.sendto(b"never")
    transport.abort()
    transport.abort()
    transport.close()
    assert await protocol.lost is None
    received = []
    while True:
        try:
            received.append(peer.recv(10))
        except BlockingIOError:
            break
    assert received == [b"full"] * (sent - 1)


async def test_nothing_is_received_after_close(endpoint, peer):
    transport, protocol = await endpoint({"datagram_received": lambda p, *_: p.transport.close()})
    for _ in range(3):
        peer.sendto(b"x", transport.get_extra_info("sockname"))
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "datagram_received", "connection_lost"]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("where", ["connection_made", "error_received", "connection_lost"])
async def test_ending_in_a_callback(endpoint, closed_port, how, where):
    transport, protocol = await endpoint(
        {where: lambda p, *_: getattr(p.transport, how)()}, remote_addr=closed_port
    )
    transport.sendto(b"x")
    if where == "connection_lost":
        transport.close()
    assert await protocol.lost is None
    assert protocol.calls.count("connection_lost") == 1


async def test_sending_to_a_lost_one_warns(endpoint, peer, caplog):
    transport, protocol = await endpoint(remote_addr=peer.getsockname())
    transport.close()
    for _ in range(10):
        transport.sendto(b"x")
    await protocol.lost
    transport.sendto(b"x")
    with pytest.raises(ValueError, match="Invalid address"):
        transport.sendto(b"x", ("127.0.0.1", 1))
    messages = {record.getMessage() for record in caplog.records}
    assert messages == {"socket.send() raised exception."}


async def test_an_unconnected_one_sends_until_it_is_lost(endpoint, peer):
    transport, protocol = await endpoint()
    transport.close()
    transport.sendto(b"last words", peer.getsockname())
    assert peer.recv(20) == b"last words"
    await protocol.lost
    with pytest.raises(AttributeError):
        transport.sendto(b"x", peer.getsockname())


async def test_a_dropped_one_warns_and_closes(endpoint):
    transport, protocol = await endpoint()
    transport.pause_reading()  # what is watched is kept
    protocol.transport = None
    fd = transport.get_extra_info("socket").fileno()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport
        gc.collect()
    (warning,) = [each for each in caught if each.category is ResourceWarning]
    assert re.match(
        rf"unclosed transport <\w*DatagramTransport( closing)? fd={fd}", str(warning.message)
    )
    assert not protocol.lost.done()


def test_the_loop_closes_first(new_loop, recorder):
    loop = new_loop()

    async def main():
        return await loop.create_datagram_endpoint(recorder, local_addr=("127.0.0.1", 0))

    transport, protocol = loop.run_until_complete(main())
    loop.close()
    assert re.fullmatch(r"<\w*DatagramTransport fd=\d+>", repr(transport))
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        transport.close()
    protocol.transport = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del transport
        gc.collect()


async def test_the_socket_is_the_transports(endpoint):
    transport, protocol = await endpoint()
    sock = transport.get_extra_info("socket")._sock
    loop = asyncio.get_running_loop()
    with pytest.raises(RuntimeError, match="^File descriptor .* is used by transport"):
        loop.add_reader(sock, print)
    with pytest.raises(RuntimeError, match="^File descriptor .* is used by transport"):
        await loop.sock_recvfrom(sock, 10)
    transport.close()
    await protocol.lost


async def test_audit_events(endpoint, peer):
    seen = []
    active = [True]

    def hook(event, args):
        if active and event in ("socket.sendto", "socket.bind"):
            seen.append((event, args[1]))

    sys.addaudithook(hook)
    transport, protocol = await endpoint()
    transport.sendto(b"x", peer.getsockname())
    active.clear()
    assert seen == [("socket.bind", ("127.0.0.1", 0)), ("socket.sendto", peer.getsockname())]
    transport.close()
    await protocol.lost


async def test_no_transport_is_left(endpoint, until):
    transport, protocol = await endpoint()
    gone = weakref.ref(transport)
    transport.close()
    await protocol.lost
    protocol.transport = None
    del transport
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None


async def test_an_endpoint_gives_back_what_it_holds(endpoint):
    async def use_one():
        made, listener = await endpoint()
        made.close()
        await listener.lost

    await use_one()
    before = sys.getrefcount(None)
    for _ in range(50):
        await use_one()
    assert sys.getrefcount(None) - before < 25


async def test_max_size_cuts_a_datagram(endpoint, peer):
    transport, protocol = await endpoint()
    assert transport.max_size == 256 * 1024
    transport.max_size = 3
    for _ in range(2):
        peer.sendto(b"abcdef", transport.get_extra_info("sockname"))
        data, _ = await protocol.received.get()
        assert data == b"abc"
    transport.close()
    await protocol.lost


@pytest.mark.penstock_only("asyncio finds out when the datagram's turn comes")
async def test_an_address_that_is_none_behind_others(endpoint, tmp_path, reports):
    seen = reports()
    path = str(tmp_path / "peer")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(path)
        transport, protocol = await endpoint(family=socket.AF_UNIX, local_addr=None)
        while not transport.get_write_buffer_size():
            transport.sendto(b"x" * 1000, path)
        transport.sendto(b"x", 5)
        assert transport.is_closing()
        assert isinstance(await protocol.lost, TypeError)
    assert [type(context["exception"]) for context in seen] == [TypeError]
