"""`primitives` is where the classes come from: asyncio's own, or penstock's; both on each loop."""

import asyncio
import asyncio.locks
import asyncio.queues
from types import SimpleNamespace

import penstock
import pytest

NAMES = {
    asyncio.locks: ("Lock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Barrier"),
    asyncio.queues: ("Queue", "PriorityQueue", "LifoQueue"),
}
STOCK = {name: getattr(home, name) for home, names in NAMES.items() for name in names}
NATIVE = {name: getattr(penstock, name) for name in STOCK}


@pytest.fixture(params=["stock", "native"])
def primitives(request):
    return SimpleNamespace(**(STOCK if request.param == "stock" else NATIVE))


@pytest.fixture(params=STOCK)
def pair_of_classes(request):
    """The same class of asyncio and of penstock."""
    return STOCK[request.param], NATIVE[request.param]


@pytest.fixture
def arguments(pair_of_classes):
    """What they are made with."""
    return (1,) if pair_of_classes[0] is STOCK["Barrier"] else ()


@pytest.fixture(params=["factory", "method", "subclass"])
def own_tasks(request, new_loop):
    """A loop that makes tasks in its own way, and the coroutines that it was given for them."""
    made = []

    def make(loop, coro, **keywords):
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **keywords)

    loop = new_loop()
    if request.param == "factory":
        loop.set_task_factory(make)
    elif request.param == "method":
        loop.create_task = lambda coro, **keywords: make(loop, coro, **keywords)
    else:
        base = type(loop)
        loop.close()
        loop = type("Own", (base,), {"create_task": make})()
    yield loop, made
    loop.close()
