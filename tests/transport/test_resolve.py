"""Look-ups through the loop: their futures, and cancelling them at any time."""

import asyncio
import gc
import socket
import threading
import weakref

import pytest


async def test_answers_are_those_of_the_socket_module():
    loop = asyncio.get_running_loop()
    for host, port, options in [
        ("127.0.0.1", 80, {"type": socket.SOCK_STREAM}),
        ("::1", "443", {}),
        (None, 8080, {"flags": socket.AI_PASSIVE, "type": socket.SOCK_STREAM}),
        ("localhost", 80, {"type": socket.SOCK_STREAM}),
        ("127.0.0.1", "http", {}),
        (b"127.0.0.1", b"1", {}),
        ("127.0.0.1", 1, {"flags": socket.AI_CANONNAME}),
    ]:
        assert await loop.getaddrinfo(host, port, **options) == socket.getaddrinfo(
            host, port, **options
        )


@pytest.mark.parametrize(
    ("host", "port", "options"),
    [
        ("localhost", 80, {"flags": socket.AI_NUMERICHOST}),
        ("name.invalid", 80, {}),
        ("127.0.0.1", "no such service", {}),
        ("127.0.0.1", 80, {"family": socket.AF_INET6}),
        ("127.0.0.1", 80, {"type": 99}),
        (None, None, {}),
    ],
)
async def test_errors_are_those_of_the_socket_module(host, port, options):
    with pytest.raises(socket.gaierror) as expected:
        socket.getaddrinfo(host, port, **options)
    with pytest.raises(socket.gaierror) as caught:
        await asyncio.get_running_loop().getaddrinfo(host, port, **options)
    assert caught.value.args == expected.value.args


@pytest.mark.penstock_only("the native look-up")
async def test_literals_never_leave_the_loop():
    future = asyncio.get_running_loop()._resolve(b"127.0.0.1", b"80", 0, socket.SOCK_STREAM, 0, 0)
    assert future.done()
    assert future.result() == [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]
    for host in (b"\0", "a\0b"):
        with pytest.raises(ValueError, match="null"):
            asyncio.get_running_loop()._resolve(host, b"80", 0, 0, 0, 0)


@pytest.mark.penstock_only("the native look-up")
async def test_no_signal_is_handled_by_its_threads_and_no_python_thread_is_made():
    before = threading.active_count()
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    assert threading.active_count() == before


async def test_cancelled_at_any_time():
    loop = asyncio.get_running_loop()
    for i in range(300):
        task = asyncio.create_task(loop.getaddrinfo("localhost", 80))
        for _ in range(i % 4):
            await asyncio.sleep(0)
        task.cancel()
        try:
            assert await task
        except asyncio.CancelledError:
            pass
    assert await loop.getaddrinfo("localhost", 80)


@pytest.mark.penstock_only("the native look-up")
def test_a_loop_may_end_before_its_answers(new_loop):
    futures = []
    for _ in range(20):
        loop = new_loop()
        future = loop._resolve(b"localhost", b"80", 0, 0, 0, 0)
        futures.append(weakref.ref(future))
        del future
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        del loop
    gc.collect()
    assert not any(reference() for reference in futures)
