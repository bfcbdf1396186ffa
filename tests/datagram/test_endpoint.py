"""create_datagram_endpoint(): what it binds, connects and refuses."""

import asyncio
import logging
import os
import re
import socket
import sys

import pytest

LOOPBACK = ("127.0.0.1", 0)


async def test_a_question_and_its_answer(endpoint):
    server, answers = await endpoint(
        {"datagram_received": lambda p, data, addr: p.transport.sendto(b"re: " + data, addr)}
    )
    client, protocol = await endpoint(remote_addr=server.get_extra_info("sockname"))
    client.sendto(b"hello")
    assert await protocol.received.get() == (b"re: hello", server.get_extra_info("sockname"))
    assert client.get_extra_info("peername") == server.get_extra_info("sockname")
    assert (await answers.received.get())[1] == client.get_extra_info("sockname")
    assert server.get_extra_info("peername") is None
    for transport in (client, server):
        transport.close()
    assert await protocol.lost is None and await answers.lost is None
    assert protocol.calls == ["connection_made", "datagram_received", "connection_lost"]


async def test_ipv6(endpoint):
    server, answers = await endpoint(
        {"datagram_received": lambda p, data, addr: p.transport.sendto(data[::-1], addr)},
        local_addr=("::1", 0),
    )
    name = server.get_extra_info("sockname")
    assert name[0] == "::1" and name[2:] == (0, 0)
    client, protocol = await endpoint(local_addr=("::1", 0))
    for address in (name, name[:2], name[:3]):
        client.sendto(b"abc", address)
        assert await protocol.received.get() == (b"cba", name)
    client.close()
    server.close()
    await protocol.lost
    await answers.lost


async def test_local_and_remote(endpoint, peer):
    transport, protocol = await endpoint(local_addr=LOOPBACK, remote_addr=peer.getsockname())
    transport.sendto(b"x")
    assert peer.recvfrom(10) == (b"x", transport.get_extra_info("sockname"))
    transport.close()
    await protocol.lost


async def test_names_are_resolved(endpoint, peer):
    port = peer.getsockname()[1]
    transport, protocol = await endpoint(
        local_addr=("localhost", 0), remote_addr=("localhost", port), family=socket.AF_INET
    )
    transport.sendto(b"x")
    assert peer.recv(10) == b"x"
    transport.close()
    await protocol.lost


async def test_unbound(endpoint, peer):
    transport, protocol = await endpoint(family=socket.AF_INET)
    assert transport.get_extra_info("sockname") == ("0.0.0.0", 0)
    transport.sendto(b"x", peer.getsockname())
    data, address = peer.recvfrom(10)
    peer.sendto(data, address)
    assert await protocol.received.get() == (b"x", peer.getsockname())
    transport.close()
    await protocol.lost


async def test_a_socket_of_ones_own(endpoint, peer):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(LOOPBACK)
    transport, protocol = await endpoint(sock=sock)
    assert transport.get_extra_info("socket").fileno() == sock.fileno()
    assert sock.gettimeout() == 0
    transport.sendto(b"x", peer.getsockname())
    assert peer.recvfrom(10) == (b"x", sock.getsockname())
    transport.close()
    await protocol.lost
    assert sock.fileno() == -1


async def test_a_connected_socket_of_ones_own(endpoint, peer):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(peer.getsockname())
    transport, protocol = await endpoint(sock=sock)
    transport.sendto(b"x")
    assert peer.recv(10) == b"x"
    transport.close()
    await protocol.lost


async def test_broadcast_is_not_connected(endpoint, peer):
    transport, protocol = await endpoint(
        remote_addr=("127.255.255.255", peer.getsockname()[1]), allow_broadcast=True
    )
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
    assert transport.get_extra_info("peername") is None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as everybody:
        everybody.settimeout(10)
        everybody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        everybody.bind(("127.255.255.255", 0))
        other, other_protocol = await endpoint(
            remote_addr=everybody.getsockname(), allow_broadcast=True
        )
        other.sendto(b"to all")
        assert everybody.recv(10) == b"to all"
        with pytest.raises(ValueError, match="^Invalid address: must be None or "):
            other.sendto(b"to one", peer.getsockname())
    for each in (transport, other):
        each.close()
    await protocol.lost
    await other_protocol.lost


async def test_without_allow_broadcast_a_broadcast_is_an_error(endpoint):
    transport, protocol = await endpoint()
    transport.sendto(b"x", ("255.255.255.255", 9))
    assert isinstance(await protocol.errors.get(), PermissionError)
    transport.close()
    await protocol.lost


async def test_reuse_port(endpoint):
    first, one = await endpoint(local_addr=LOOPBACK, reuse_port=True)
    second, two = await endpoint(local_addr=first.get_extra_info("sockname"), reuse_port=True)
    with pytest.raises(OSError, match="Address already in use"):
        await endpoint(local_addr=first.get_extra_info("sockname"))
    for transport in (first, second):
        transport.close()
    await one.lost
    await two.lost


async def refused(call):
    with pytest.raises(Exception) as caught:
        await call
    return type(caught.value), str(caught.value)


async def test_refused_arguments(recorder):
    loop = asyncio.get_running_loop()

    async def create(*args, **options):
        async def call():
            await loop.create_datagram_endpoint(recorder, *args, **options)

        return await refused(call())

    assert await create() == (ValueError, "unexpected address family")
    assert await create(local_addr="localhost") == (TypeError, "2-tuple is expected")
    assert await create(local_addr=("::1", 0, 0, 0)) == (TypeError, "2-tuple is expected")
    assert await create(("127.0.0.1", 0), ("::1", 1)) == (
        ValueError,
        "can not get address information",
    )
    assert await create(family=socket.AF_UNIX, local_addr=b"path") == (
        TypeError,
        "string is expected",
    )
    assert (await create(local_addr=("127.0.0.1", 0), family=socket.AF_INET6))[0] in (
        socket.gaierror,
        OSError,
    )
    assert (await create(local_addr=LOOPBACK, reuse_address=True))[0] is TypeError


async def test_refused_sockets(recorder):
    loop = asyncio.get_running_loop()
    with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        kind, message = await refused(loop.create_datagram_endpoint(recorder, sock=stream))
        expected = "datagram socket" if sys.version_info >= (3, 13) else "UDP Socket"
        assert kind is ValueError
        assert message == f"A {expected} was expected, got {stream!r}"
        kind, message = await refused(
            loop.create_datagram_endpoint(
                recorder, sock=sock, local_addr=LOOPBACK, family=2, allow_broadcast=True
            )
        )
        assert kind is ValueError
        assert message == (
            "socket modifier keyword arguments can not be used when sock is specified. "
            "(local_addr=('127.0.0.1', 0), family=2, allow_broadcast=True)"
        )


async def test_the_first_error_is_raised(recorder, peer):
    loop = asyncio.get_running_loop()
    with pytest.raises(OSError, match="Address already in use"):
        await loop.create_datagram_endpoint(recorder, local_addr=peer.getsockname())
    with pytest.raises(OSError, match="Cannot assign requested address"):
        await loop.create_datagram_endpoint(recorder, local_addr=("192.0.2.1", 0))


@pytest.mark.penstock_only("asyncio leaves the socket open")
async def test_a_failing_factory_leaves_nothing_open():
    def factory():
        raise ZeroDivisionError

    loop = asyncio.get_running_loop()
    with pytest.raises(ZeroDivisionError):
        await loop.create_datagram_endpoint(factory, local_addr=LOOPBACK)


async def test_debug_mode_logs(endpoint, caplog):
    asyncio.get_running_loop().set_debug(True)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        first, one = await endpoint()
        second, two = await endpoint(remote_addr=first.get_extra_info("sockname"))
    lines = [record.getMessage() for record in caplog.records if "endpoint" in record.getMessage()]
    assert re.match(r"Datagram endpoint local_addr=\('127.0.0.1', 0\) remote_addr=None", lines[0])
    assert re.match(r"Datagram endpoint remote_addr=\('127.0.0.1', \d+\) created: \(<", lines[1])
    for transport in (first, second):
        transport.close()
    await one.lost
    await two.lost


async def test_unix_by_path(endpoint, tmp_path):
    here, there = str(tmp_path / "here"), str(tmp_path / "there")
    server, answers = await endpoint(
        {"datagram_received": lambda p, data, addr: p.transport.sendto(data.upper(), addr)},
        family=socket.AF_UNIX,
        local_addr=there,
    )
    client, protocol = await endpoint(family=socket.AF_UNIX, local_addr=here, remote_addr=there)
    client.sendto(b"hello")
    assert await protocol.received.get() == (b"HELLO", there)
    assert answers.received.get_nowait() == (b"hello", here)
    assert client.get_extra_info("sockname") == here
    assert client.get_extra_info("peername") == there
    client.close()
    server.close()
    await protocol.lost
    await answers.lost
    assert os.path.exists(there)


async def test_a_stale_socket_file_is_removed_and_nothing_else(endpoint, tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)
    transport, protocol = await endpoint(family=socket.AF_UNIX, local_addr=path)
    transport.close()
    await protocol.lost
    (tmp_path / "file").write_text("precious")
    with pytest.raises(OSError, match="Address already in use"):
        await endpoint(family=socket.AF_UNIX, local_addr=str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"


async def test_unix_abstract_and_nameless(endpoint):
    name = f"\0penstock-test-{os.getpid()}-{id(object())}"
    server, protocol = await endpoint(family=socket.AF_UNIX, local_addr=name)
    assert server.get_extra_info("sockname") == name.encode()
    client, other = await endpoint(family=socket.AF_UNIX, remote_addr=name)
    assert client.get_extra_info("peername") == name.encode()
    client.sendto(b"nameless")
    assert await protocol.received.get() == (b"nameless", None)
    for address in (name, name.encode()):
        third, third_protocol = await endpoint(family=socket.AF_UNIX)
        third.sendto(b"named", address)
        assert await protocol.received.get() == (b"named", None)
        third.close()
        await third_protocol.lost
    client.close()
    server.close()
    await other.lost
    await protocol.lost


@pytest.mark.skipif(not hasattr(socket, "AF_NETLINK"), reason="no netlink")
async def test_a_family_that_only_the_socket_module_knows(endpoint):
    if sys.version_info < (3, 13):
        kind = socket.SOCK_DGRAM
    else:
        kind = socket.SOCK_RAW
    sock = socket.socket(socket.AF_NETLINK, kind, 0)  # NETLINK_ROUTE
    sock.bind((0, 0))
    transport, protocol = await endpoint(sock=sock)
    assert transport.get_extra_info("sockname") == sock.getsockname()
    transport.close()
    assert await protocol.lost is None
