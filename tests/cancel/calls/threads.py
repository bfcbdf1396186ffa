"""What runs in threads: executors and look-ups; and the two ends of a loop."""

import asyncio
import socket
import threading
import time

from ..scenario import scenario


@scenario("getaddrinfo")
async def getaddrinfo(stage):
    yield stage.loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)


@scenario("getnameinfo")
async def getnameinfo(stage):
    yield stage.loop.getnameinfo(("127.0.0.1", 80))  # reads files: it takes a while


@scenario("run_in_executor")
async def run_in_executor(stage):
    gate = threading.Event()
    stage.props.callback(gate.set)

    async def call():
        return await stage.loop.run_in_executor(None, gate.wait)

    yield call(), gate.set


@scenario("shutdown_asyncgens", uses_up_loop=True)
async def shutdown_asyncgens(stage):
    closed = []

    async def numbers():
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            closed.append(True)

    opened = numbers()
    await anext(opened)
    yield stage.loop.shutdown_asyncgens()


@scenario(
    "shutdown_default_executor",
    uses_up_loop=True,
    asyncio_fails="its thread sets the result of a future that is cancelled",
)
async def shutdown_default_executor(stage):
    # Not for ever: cancelled, asyncio joins the threads all the same, and blocks meanwhile.
    job = stage.loop.run_in_executor(None, time.sleep, 0.01)
    yield stage.loop.shutdown_default_executor()
    await job
