"""The queues: order, who waits, cancellation, subclasses, shutdown."""

import asyncio
import math

import penstock
import pytest

from .test_locks import outcomes, started


@pytest.mark.parametrize(
    ("name", "order"),
    [("Queue", [3, 1, 2]), ("PriorityQueue", [1, 2, 3]), ("LifoQueue", [2, 1, 3])],
)
async def test_orders(primitives, name, order):
    queue = getattr(primitives, name)()
    for item in (3, 1, 2):
        queue.put_nowait(item)
    assert queue.qsize() == 3
    assert [await queue.get() for _ in range(3)] == order
    assert queue.empty()
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()


async def test_a_full_one_lets_the_putters_in_by_turns(primitives):
    queue = primitives.Queue(1)
    tasks = await started(*[queue.put(item) for item in range(4)])
    assert queue.full()
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("more")
    assert [await queue.get() for _ in range(4)] == [0, 1, 2, 3]
    assert await outcomes(tasks) == [None] * 4


@pytest.mark.parametrize("victim", range(3))
@pytest.mark.parametrize("is_woken", [False, True])
async def test_a_cancelled_getter_loses_no_item(primitives, victim, is_woken):
    queue = primitives.Queue()
    tasks = await started(*[queue.get() for _ in range(3)])
    if is_woken:
        queue.put_nowait("a")
        queue.put_nowait("b")
    tasks[victim].cancel()
    if not is_woken:
        queue.put_nowait("a")
        queue.put_nowait("b")
    assert sorted(map(str, await outcomes(tasks))) == ["a", "b", "cancelled"]
    assert queue.empty()


async def test_a_cancelled_putter_puts_nothing(primitives):
    queue = primitives.Queue(1)
    tasks = await started(*[queue.put(item) for item in range(3)])
    tasks[1].cancel()
    assert await queue.get() == 0
    assert await queue.get() == 2
    assert await outcomes(tasks) == [None, "cancelled", None]
    assert len(queue._putters) == 0


async def test_join_waits_for_the_last_task_done(primitives):
    queue = primitives.Queue()
    await queue.join()
    queue.put_nowait(1)
    queue.put_nowait(2)
    [joined] = await started(queue.join())
    queue.get_nowait()
    queue.task_done()
    await asyncio.sleep(0)
    assert not joined.done()
    queue.task_done()
    await joined
    with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
        queue.task_done()


async def test_a_queue_that_is_emptied_by_its_private_attributes(primitives):
    for kind in (primitives.Queue, primitives.PriorityQueue, primitives.LifoQueue):
        queue = kind()
        assert queue._finished.is_set()
        for item in range(3):
            queue.put_nowait(item)
        assert not queue._finished.is_set()
        joined = await started(queue.join(), queue.join(), queue._finished.wait())
        queue._queue.clear()
        queue._finished.set()
        queue._unfinished_tasks = 0
        assert await outcomes(joined) == [None, None, True]
        assert queue.empty()
        await queue.join()
        queue.put_nowait("next")
        [again] = await started(queue.join())
        assert queue.get_nowait() == "next"
        assert not again.done()
        queue.task_done()
        await again


async def test_a_subclass_with_an_event_of_its_own(primitives):
    class Own(primitives.Queue):
        def __init__(self):
            super().__init__()
            self._finished = "its own"

    assert Own()._finished == "its own"


async def test_sizes(primitives):
    assert primitives.Queue(1.5).maxsize == 1.5
    queue = primitives.Queue(1.5)
    queue.put_nowait(1)
    assert not queue.full()
    queue.put_nowait(2)
    assert queue.full()
    for endless in (0, -1, math.inf):
        queue = primitives.Queue(endless)
        queue.put_nowait(1)
        assert not queue.full()


async def test_a_subclass_keeps_its_items_in_its_own_way(primitives):
    class Unique(primitives.Queue):
        def _init(self, maxsize):
            self._queue = {}

        def _put(self, item):
            self._queue[item] = True

        def _get(self):
            return self._queue.popitem()[0]

    queue = Unique(2)
    assert queue.empty()
    queue.put_nowait("a")
    queue.put_nowait("a")
    assert queue.qsize() == 1
    await queue.put("b")
    assert queue.full()
    [task] = await started(queue.put("c"))
    assert await queue.get() == "b"
    await task
    assert {queue.get_nowait(), await queue.get()} == {"a", "c"}


async def test_a_subclass_with_nowait_methods_of_its_own(primitives):
    class Telling(primitives.Queue):
        def __init__(self):
            super().__init__()
            self.told = []

        def get_nowait(self):
            self.told.append("get")
            return super().get_nowait()

        def put_nowait(self, item):
            self.told.append("put")
            super().put_nowait(item)

    queue = Telling()
    await queue.put(1)
    assert await queue.get() == 1
    assert queue.told == ["put", "get"]


async def test_reprs(primitives):
    queue = primitives.Queue(2)
    await queue.put("x")
    assert repr(queue).endswith(" maxsize=2 _queue=['x'] tasks=1>")
    assert str(queue).endswith(" maxsize=2 _queue=['x'] tasks=1>")


def test_the_type_takes_a_parameter(primitives):
    assert primitives.Queue[int].__args__ == (int,)


class TestShutdown:
    """On all versions, as asyncio has it from 3.13 on."""

    async def test_what_is_there_can_be_had(self):
        queue = penstock.Queue()
        queue.put_nowait(1)
        queue.shutdown()
        with pytest.raises(penstock.QueueShutDown):
            queue.put_nowait(2)
        with pytest.raises(penstock.QueueShutDown):
            await queue.put(2)
        assert await queue.get() == 1
        for get in (queue.get_nowait, queue.get):
            with pytest.raises(penstock.QueueShutDown):
                await get()

    async def test_who_waits_goes_on(self):
        empty, full = penstock.Queue(), penstock.Queue(1)
        full.put_nowait(1)
        tasks = await started(empty.get(), full.put(2))
        empty.shutdown()
        full.shutdown()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in found] == [penstock.QueueShutDown] * 2

    async def test_immediately(self):
        queue = penstock.Queue()
        queue.put_nowait(1)
        [joined] = await started(queue.join())
        queue.shutdown(immediate=True)
        await joined
        with pytest.raises(penstock.QueueShutDown):
            queue.get_nowait()
