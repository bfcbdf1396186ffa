"""`primitives` is where the classes come from: asyncio's own, or penstock's; both on each loop."""

import asyncio.locks
import asyncio.queues
from types import SimpleNamespace

import penstock
import pytest

NAMES = {
    asyncio.locks: ("Lock", "Event", "Semaphore", "BoundedSemaphore"),
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
