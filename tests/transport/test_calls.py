"""When a protocol is called, in which context, and what the transport says of itself."""

import asyncio
import contextvars
import re
import socket
import struct
import sys
from asyncio.trsock import TransportSocket

import pytest

variable = contextvars.ContextVar("variable", default="unset")


async def test_the_calls_come_in_order(connect, pair):
    transport, protocol = await connect()
    assert protocol.calls == ["connection_made"]
    pair[1].sendall(b"ping")
    pair[1].shutdown(socket.SHUT_WR)
    assert await protocol.lost is None
    assert protocol.calls == ["connection_made", "data_received", "eof_received", "connection_lost"]
    assert protocol.data == b"ping"
    assert transport.is_closing()


async def test_who_connects_has_a_turn_before_the_first_bytes(pair, recorder):
    pair[1].sendall(b"early")
    transport, protocol = await asyncio.get_running_loop().create_connection(recorder, sock=pair[0])
    assert protocol.calls == ["connection_made"]
    other = recorder()
    transport.set_protocol(other)
    pair[1].close()
    await other.lost
    assert other.data == b"early" and protocol.calls == ["connection_made"]


async def test_who_connects_may_close_at_once(pair, recorder):
    pair[1].sendall(b"early")
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(recorder, sock=pair[0])
    transport.abort()
    await protocol.lost
    await asyncio.sleep(0)
    assert protocol.calls == ["connection_made", "connection_lost"]


async def test_who_connects_may_pause_before_the_first_bytes(pair, recorder, until):
    pair[1].sendall(b"early")
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(recorder, sock=pair[0])
    transport.pause_reading()
    for _ in range(5):
        await asyncio.sleep(0)
    assert protocol.data == b""
    transport.resume_reading()
    await until(lambda: protocol.data == b"early")
    transport.close()
    await protocol.lost


async def test_it_is_an_asyncio_transport_with_attributes_of_ones_own(connect):
    transport, protocol = await connect()
    assert isinstance(transport, asyncio.Transport)
    transport.colour = "red"
    assert transport.colour == "red" and vars(transport)["colour"] == "red"
    transport.close()
    await protocol.lost


async def test_extra_info(connect, pair):
    near, far = pair
    transport, protocol = await connect()
    sock = transport.get_extra_info("socket")
    assert isinstance(sock, TransportSocket)
    assert sock.fileno() == near.fileno()
    assert transport.get_extra_info("sockname") == far.getpeername()
    assert transport.get_extra_info("peername") == far.getsockname()
    assert transport.get_extra_info("nothing") is None
    assert transport.get_extra_info("nothing", 42) == 42
    assert transport.get_extra_info(name="nothing", default=43) == 43
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    transport.abort()
    await protocol.lost
    assert transport.get_extra_info("peername") == far.getsockname()


async def test_extra_info_that_is_first_asked_for_when_the_connection_is_lost(connect, pair):
    transport, protocol = await connect()
    far = pair[1]
    expected = far.getpeername(), far.getsockname()
    transport.abort()
    await protocol.lost
    assert transport.get_extra_info("nothing", 42) == 42
    assert (transport.get_extra_info("sockname"), transport.get_extra_info("peername")) == expected
    assert transport.get_extra_info("socket").fileno() == -1


async def test_extra_info_of_a_peer_that_has_reset(connect, pair):
    transport, protocol = await connect()
    far = pair[1]
    expected = far.getsockname()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    await protocol.lost
    assert transport.get_extra_info("peername") == expected


async def test_extra_info_is_a_dict_of_the_transports(connect):
    transport, protocol = await connect()
    assert sorted(transport._extra) == ["peername", "socket", "sockname"]
    transport._extra["mine"] = 1
    assert transport.get_extra_info("mine") == 1
    transport._extra = {"other": 2}
    assert transport.get_extra_info("other") == 2
    assert transport.get_extra_info("peername") is None
    transport.abort()
    await protocol.lost


async def test_ipv6_and_unix_addresses(recorder):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with far:
        transport, protocol = await loop.create_connection(recorder, sock=near)
        assert transport.get_extra_info("sockname") == transport.get_extra_info("peername") == ""
        transport.close()
        await protocol.lost
    server = await loop.create_server(recorder, "::1", 0)
    address = server.sockets[0].getsockname()
    transport, protocol = await loop.create_connection(recorder, "::1", address[1])
    assert transport.get_extra_info("peername") == address
    transport.close()
    await protocol.lost
    server.close()
    await asyncio.sleep(0.01)


async def test_repr(connect, pair):
    transport, protocol = await connect()

    def shape():
        return re.sub(r"^<\w+|fd=\d+", "", repr(transport))

    await asyncio.sleep(0)
    assert shape() == "  read=polling write=<idle, bufsize=0>>"
    transport.pause_reading()
    assert shape() == "  read=idle write=<idle, bufsize=0>>"
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
    size = transport.get_write_buffer_size()
    assert shape() == f"  read=idle write=<polling, bufsize={size}>>"
    transport.close()
    assert shape() == f" closing  read=idle write=<polling, bufsize={size}>>"
    transport.abort()
    await protocol.lost
    await asyncio.sleep(0)
    assert shape() == " closed >"


async def test_calls_run_in_the_context_of_the_connection_and_in_no_task(pair, recorder):
    seen = {}

    def look(name):
        def note(protocol, *args):
            seen[name] = variable.get(), asyncio.current_task()
            variable.set(name)

        return note

    variable.set("outer")
    names = ["connection_made", "data_received", "eof_received", "connection_lost"]
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(
        lambda: recorder(**{name: look(name) for name in names}), sock=pair[0]
    )
    variable.set("later")
    pair[1].sendall(b"x")
    while "data_received" not in seen:
        await asyncio.sleep(0)
    pair[1].shutdown(socket.SHUT_WR)
    await protocol.lost
    assert seen == {
        "connection_made": ("outer", None),
        # From 3.15 on the whole connection has one context.
        "data_received": ("outer" if sys.version_info < (3, 15) else "connection_made", None),
        "eof_received": ("data_received", None),  # the same handle's context
        "connection_lost": ("eof_received", None),  # a copy of it, taken by close()
    }


async def test_reading_goes_on_in_the_context_that_resumed_it(connect, pair, until):
    seen = []
    transport, protocol = await connect(data_received=lambda *_: seen.append(variable.get()))
    transport.pause_reading()
    variable.set("resumer")
    transport.resume_reading()
    pair[1].sendall(b"x")
    await until(lambda: seen)
    # From 3.15 on in the connection's, as ever.
    assert seen == ["resumer" if sys.version_info < (3, 15) else "unset"]
    transport.close()
    await protocol.lost


async def test_a_failing_connection_made_is_reported_and_the_connection_goes_on(
    connect, pair, reports
):
    def fail(*_):
        raise ValueError("made")

    seen = reports()
    _transport, protocol = await connect(connection_made=fail)
    assert [str(context["exception"]) for context in seen] == ["made"]
    assert "Exception in callback" in seen[0]["message"]
    pair[1].sendall(b"x")
    pair[1].shutdown(socket.SHUT_WR)
    await protocol.lost
    assert protocol.data == b"x"


@pytest.mark.parametrize("name", ["data_received", "eof_received"])
async def test_a_failing_callback_loses_the_connection(connect, pair, reports, name):
    def fail(*_):
        raise ValueError(name)

    seen = reports()
    transport, protocol = await connect(**{name: fail})
    pair[1].sendall(b"x")
    pair[1].shutdown(socket.SHUT_WR)
    exc = await protocol.lost
    assert type(exc) is ValueError
    assert [context["message"] for context in seen] == [
        f"Fatal error: protocol.{name}() call failed."
    ]
    assert seen[0]["transport"] is transport and seen[0]["protocol"] is protocol
    assert seen[0]["exception"] is exc


async def test_a_failing_connection_lost_is_reported_and_the_socket_closed(connect, pair, reports):
    def fail(*_):
        raise ValueError("lost")

    seen = reports()
    transport, protocol = await connect(connection_lost=fail)
    transport.close()
    await protocol.lost
    await asyncio.sleep(0)
    assert [str(context["exception"]) for context in seen] == ["lost"]
    assert pair[0].fileno() == -1


@pytest.mark.parametrize("name", ["connection_made", "data_received", "connection_lost"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_a_callback_ends_the_run(loop, pair, recorder, name, kind):
    def fail(*_):
        raise kind

    async def main():
        return await loop.create_connection(lambda: recorder(**{name: fail}), sock=pair[0])

    async def forever():
        transport, _ = await main()
        pair[1].sendall(b"x")
        if name == "connection_lost":
            transport.close()
        await asyncio.sleep(60)

    task = loop.create_task(forever())
    with pytest.raises(kind):
        loop.run_until_complete(task)
    # The loop is usable afterwards.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


async def test_a_method_that_is_replaced_meanwhile_is_the_one_that_is_called(connect, pair, until):
    transport, protocol = await connect()
    seen = []
    protocol.data_received = seen.append
    pair[1].sendall(b"x")
    await until(lambda: seen)
    assert seen == [b"x"]
    transport.close()
    await protocol.lost


async def test_methods_take_their_arguments_by_name(connect, pair):
    transport, protocol = await connect()
    transport.write(data=b"one ")
    transport.writelines(list_of_data=[b"two", b" three"])
    assert pair[1].recv(100) == b"one two three"
    transport.set_write_buffer_limits(low=5, high=10)
    assert transport.get_write_buffer_limits() == (5, 10)
    assert transport.get_extra_info(name="none", default=7) == 7
    transport.set_protocol(protocol=protocol)
    for call in (
        lambda: transport.write(),
        lambda: transport.write(wrong=b""),
        lambda: transport.write(b"", data=b""),
        lambda: transport.get_extra_info(default=1),
        lambda: transport.set_write_buffer_limits(1, high=1),
        lambda: transport.set_write_buffer_limits(1, 2, 3),
    ):
        with pytest.raises(TypeError, match=r"argument"):
            call()
    transport.close()
    await protocol.lost
