"""Native coroutines in tasks of another make, which know nothing of them."""

import asyncio
import socket

import penstock
import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="no eager tasks in this version"
)
# As it was imported before install().
STOCK = getattr(asyncio, "eager_task_factory", None)


async def acquire(lock):
    await lock.acquire()


async def receive(sock):
    await asyncio.get_running_loop().sock_recv(sock, 1)


async def read(reader):
    await reader.read(1)


async def test_one_that_starts_eagerly_in_the_step_of_one_of_ours():
    """Whatever it waits for natively is a future to it."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    lock, event, queue = penstock.Lock(), penstock.Event(), penstock.Queue()
    await lock.acquire()
    reader = penstock.StreamReader(loop=loop)
    with near, far:
        waiting = [
            STOCK(loop, work)
            for work in (
                acquire(lock),
                event.wait(),
                queue.get(),
                receive(near),
                read(reader),
                penstock.sleep(0),
                penstock.sleep(0.001),
                penstock.wait_for(penstock.sleep(0.001), 10),
            )
        ]
        assert not any(task.done() for task in waiting)
        lock.release()
        event.set()
        queue.put_nowait(1)
        reader.feed_data(b"x")
        far.send(b"x")
        await asyncio.gather(*waiting)


async def test_ours_goes_on_natively_afterwards():
    loop = asyncio.get_running_loop()
    lock = penstock.Lock()
    await lock.acquire()
    stock = STOCK(loop, acquire(lock))
    loop.call_soon(lock.release)
    await stock
    loop.call_soon(lock.release)
    await lock.acquire()
    lock.release()
