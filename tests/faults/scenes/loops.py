"""A loop: its calls and timers, debug mode, threads and signals."""

import asyncio
import contextvars
import os
import signal
import socket

import penstock

from .scene import scene, turns, waits


@scene
def a_loop(short):
    loop = None
    try:
        with short:
            loop = penstock.new_event_loop()
            loop.call_soon(loop.stop)
            loop.run_forever()
    finally:
        if loop is not None:
            loop.close()


@scene
async def calls(short):
    loop = asyncio.get_running_loop()
    came = []
    with short:
        handle = loop.call_soon(came.append, 1)
        loop.call_soon(lambda *args: came.append(len(args)), *range(7))
        loop.call_soon(came.append, 3, context=contextvars.Context())
        loop.call_soon_threadsafe(came.append, 4)
        repr(handle), handle.get_context(), handle.cancelled()
        await turns()
        short.expect(came == [1, 7, 3, 4])


@scene
async def timed_calls(short):
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    with short:
        handle = loop.call_later(0.0001, came.set_result, 1)
        later = loop.call_at(loop.time() + 50, int)
        repr(handle), repr(later), handle.when(), hash(later), later > handle
        later.cancel()
        short.expect(await came == 1)


@scene
async def many_calls(short):
    loop = asyncio.get_running_loop()
    came = []
    late = loop.create_future()
    with short:
        for i in range(600):
            loop.call_soon(came.append, i)
        timers = [loop.call_later(10, int) for _ in range(300)]
        loop.call_later(0, late.set_result, None)
        for timer in timers:
            timer.cancel()
        await late
        short.expect(came == list(range(600)))


@scene
async def a_callback_that_fails(short):
    loop = asyncio.get_running_loop()

    def fail():
        raise ValueError

    with short:
        loop.call_soon(fail)
        loop.call_later(0, fail)
        await turns()
        await asyncio.sleep(0.0001)
    short.expect(len(short.told) == 2)


@scene
async def timeouts(short):
    """Each ends by itself, by its deadline, or with the error that somebody is told of."""
    loop = asyncio.get_running_loop()

    async def in_time():
        async with penstock.timeout(1000) as timeout:
            timeout.reschedule(loop.time() + 2000)
            await asyncio.sleep(0)
        return timeout.expired()

    async def too_late(delay):
        try:
            async with penstock.timeout(delay):
                await loop.create_future()
        except TimeoutError:
            return True

    await ended(short, [in_time(), too_late(0.001), too_late(0)], [False, True, True])


async def ended(short, coroutines, results):
    with short:
        tasks = [asyncio.create_task(each) for each in coroutines]
        _, pending = await asyncio.wait(tasks, timeout=2)
        short.expect(not pending)
        short.expect([task.result() for task in tasks] == results)


@scene
async def waits_with_a_limit(short):
    loop = asyncio.get_running_loop()

    async def too_late(awaitable):
        try:
            await penstock.wait_for(awaitable, 0.001)
        except TimeoutError:
            return True

    waited = [
        penstock.wait_for(asyncio.sleep(0, 1), 1000),
        penstock.wait_for(loop.create_task(asyncio.sleep(0, 2)), 1000),
        too_late(asyncio.sleep(1000)),
        too_late(loop.create_future()),
    ]
    await ended(short, waited, [1, 2, True, True])


@scene
async def debug_mode(short):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    came = []
    try:
        with short:
            loop.call_soon(came.append, 1)
            future = loop.create_future()
            loop.call_later(0, future.set_result, 2)
            repr(future)
            short.expect(await loop.create_task(waits(future)) == 2)
            short.expect(came == [1])
    finally:
        loop.slow_callback_duration = 0.1
        loop.set_debug(False)


@scene
async def an_executor(short):
    loop = asyncio.get_running_loop()
    with short:
        short.expect(await loop.run_in_executor(None, lambda: 3) == 3)


@scene
async def a_resolver(short):
    loop = asyncio.get_running_loop()
    with short:
        found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        short.expect(found[0][4][1] == 80)
        found = await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
        short.expect(found[0] == "127.0.0.1")


@scene
async def a_signal(short):
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    try:
        with short:
            loop.add_signal_handler(signal.SIGUSR1, came.set_result, 1)
            os.kill(os.getpid(), signal.SIGUSR1)
            short.expect(await came == 1)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
