"""getaddrinfo, getnameinfo; audit events; a replaced socket.getaddrinfo."""

import asyncio
import logging
import socket
import subprocess
import sys
import textwrap
import threading

import pytest


@pytest.mark.parametrize(
    ("host", "port", "hints"),
    [
        ("localhost", 80, {}),
        ("localhost", "80", {"type": socket.SOCK_STREAM}),
        ("127.0.0.1", None, {}),
        ("127.0.0.1", 80, {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_TCP}),
        (b"127.0.0.1", b"80", {"family": socket.AF_INET}),
        ("127.0.0.1", 80, {"flags": socket.AI_CANONNAME | socket.AI_NUMERICHOST}),
        (None, 8080, {"flags": socket.AI_PASSIVE}),
        (None, 8080, {"type": socket.SOCK_DGRAM}),
        ("::1", 80, {"type": socket.SOCK_STREAM}),
        ("0:0::1", "80", {"type": socket.SOCK_STREAM}),
        ("fe80::1%1", 80, {"type": socket.SOCK_STREAM}),
    ],
)
async def test_answers_are_the_standard_librarys(host, port, hints):
    found = await asyncio.get_running_loop().getaddrinfo(host, port, **hints)
    assert found == socket.getaddrinfo(host, port, **hints)
    assert repr(found) == repr(socket.getaddrinfo(host, port, **hints))


@pytest.mark.parametrize(
    ("host", "port", "hints"),
    [
        ("no-such-name.invalid", 80, {"flags": socket.AI_NUMERICHOST}),
        ("127.0.0.1", "no-such-service", {}),
        ("::1", 80, {"family": socket.AF_INET}),
        ("127.0.0.1", 80, {"family": 12345}),
        (None, None, {}),
        ("a" * 64 + ".com", 80, {}),
        (object(), 80, {}),
        ("127.0.0.1", 1.5, {}),
    ],
)
async def test_errors_are_the_standard_librarys(host, port, hints):
    with pytest.raises(Exception) as expected:
        socket.getaddrinfo(host, port, **hints)
    with pytest.raises(expected.type) as caught:
        await asyncio.get_running_loop().getaddrinfo(host, port, **hints)
    assert caught.type is expected.type
    assert caught.value.args == expected.value.args


async def test_many_at_once():
    loop = asyncio.get_running_loop()
    answers = await asyncio.gather(*[loop.getaddrinfo("localhost", port) for port in range(100)])
    assert [answer[0][4][1] for answer in answers] == list(range(100))


async def test_cancelling():
    while True:
        task = asyncio.create_task(asyncio.get_running_loop().getaddrinfo("localhost", 80))
        await asyncio.sleep(0)
        if task.cancel():  # asyncio's thread may be faster
            break
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_getnameinfo():
    loop = asyncio.get_running_loop()
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert await loop.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")
    with pytest.raises(socket.gaierror):
        await loop.getnameinfo(("not-a-number", 80), flags)


async def test_a_replacement_is_called_in_a_thread(monkeypatch):
    calls = []

    def replacement(*args):
        calls.append((threading.current_thread() is threading.main_thread(), args))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "getaddrinfo", replacement)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo("example.com", 80, type=socket.SOCK_STREAM)
    assert found == [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]
    assert calls == [(False, ("example.com", 80, 0, socket.SOCK_STREAM, 0, 0))]


async def test_a_replacement_decides_where_create_connection_goes(monkeypatch, listening):
    address = listening.getsockname()
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *args: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]
    )
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, "example.com", 80)
    assert transport.get_extra_info("peername") == address
    transport.close()
    await asyncio.sleep(0)


async def test_a_replacement_that_wraps_the_original(monkeypatch):
    import functools

    original = socket.getaddrinfo
    called = []

    @functools.wraps(original)
    def replacement(*args, **kwargs):
        called.append(args)
        return original(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", replacement)
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    assert len(called) == 1


def test_debug_mode_logs_look_ups(loop, caplog):
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        loop.run_until_complete(loop.getaddrinfo("localhost", 80, family=socket.AF_INET))
    messages = [record.getMessage() for record in caplog.records]
    question = f"localhost:80, family={socket.AF_INET!r}"
    assert f"Get address info {question}" in messages
    assert any(message.startswith(f"Getting address info {question} took ") for message in messages)


AUDITED = """
import asyncio, socket, sys
import penstock

def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.connect", "socket.bind", "socket.getnameinfo"):
        print(event, [repr(arg) for arg in args if not isinstance(arg, socket.socket)])

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "localhost", {port})
    transport, _ = await loop.create_connection(asyncio.Protocol, "localhost", {port})
    transport.close()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", {port}))
    sock.close()
    await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    await loop.getnameinfo(("127.0.0.1", 80), 3)
    server.close()
    await server.wait_closed()

sys.addaudithook(hook)
with asyncio.Runner(loop_factory={factory}) as runner:
    runner.run(main())
"""


def test_audit_events():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def events(factory):
        source = textwrap.dedent(AUDITED).format(port=port, factory=factory)
        ran = subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()

    expected = events("asyncio.SelectorEventLoop")
    assert len(expected) == 7
    assert events("penstock.new_event_loop") == expected
