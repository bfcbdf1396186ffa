"""What holds a queue's items may be looked at, replaced and deleted by the program."""

import asyncio
from collections import deque

import pytest


@pytest.mark.parametrize("bound", [0, 3])
async def test_without_it_there_is_an_error(bound):
    queue = asyncio.Queue(bound)
    del queue._queue
    with pytest.raises(AttributeError, match="_queue"):
        queue.put_nowait(1)
    with pytest.raises(AttributeError, match="_queue"):
        await queue.put(1)
    with pytest.raises(AttributeError, match="_queue"):
        queue.get_nowait()
    with pytest.raises(AttributeError, match="_queue"):
        await queue.get()


class Reversed(deque):
    def append(self, item):
        self.appendleft(item)

    def popleft(self):
        return super().pop()


@pytest.mark.parametrize("kind", [deque, Reversed, list])
async def test_another_container_is_asked_by_its_methods(kind):
    queue = asyncio.Queue()
    queue._queue = kind()
    await queue.put(1)
    queue.put_nowait(2)
    assert list(queue._queue) == ([2, 1] if kind is Reversed else [1, 2])
    if kind is list:
        with pytest.raises(AttributeError, match="popleft"):
            queue.get_nowait()
    else:
        assert [await queue.get(), queue.get_nowait()] == [1, 2]


async def test_a_bounded_deque_lets_go_of_its_first():
    queue = asyncio.Queue()

    class Item:
        def __del__(self):
            queue._queue = deque([2])

    queue._queue = deque([Item()], maxlen=1)
    await queue.put(1)
    assert await queue.get() == 2
