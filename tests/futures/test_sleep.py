"""asyncio.sleep(), stock and native."""

import asyncio
import collections.abc
import gc
import inspect
import pickle
import time
import warnings

import penstock
import pytest
from penstock import _core


@pytest.fixture(params=["stock", "native"])
def sleep(request):
    return asyncio.tasks.sleep if request.param == "stock" else _core.sleep


async def test_sleeps_and_returns(sleep):
    begin = time.monotonic()
    assert await sleep(0.05, "result") == "result"
    assert time.monotonic() - begin >= 0.05
    assert await sleep(0) is None
    assert await sleep(-1, result=3) == 3


async def test_equal_delays_end_in_order(sleep):
    order = []

    async def one(i):
        await sleep(0.01)
        order.append(i)

    await asyncio.gather(*[one(i) for i in range(100)])
    assert order == list(range(100))


async def test_zero_gives_way_once(sleep):
    order = []

    async def count(name):
        for i in range(3):
            order.append((name, i))
            await sleep(0)

    await asyncio.gather(count("a"), count("b"))
    assert order == [(name, i) for i in range(3) for name in "ab"]


async def test_cancel_and_its_message(sleep):
    task = asyncio.create_task(sleep(10))
    await asyncio.sleep(0)
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("why",)
    task = asyncio.create_task(sleep(10))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_timeouts_around_it(sleep):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await sleep(10)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sleep(10), 0.01)


async def test_bad_delays(sleep):
    with pytest.raises(TypeError):
        await sleep("1")
    with pytest.raises(TypeError):
        await sleep(None)
    with pytest.raises(TypeError):
        sleep()
    with pytest.raises(TypeError):
        sleep(1, 2, 3)


async def test_not_a_number_is_refused():
    with pytest.raises(ValueError, match="Invalid delay: NaN"):
        await _core.sleep(float("nan"))


def test_lazy_and_warns_when_forgotten(sleep):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        forgotten = sleep(1)
        del forgotten
        gc.collect()
    assert [str(w.message) for w in caught] == ["coroutine 'sleep' was never awaited"]


def test_closed_it_does_not_warn(sleep):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coro = sleep(1)
        coro.close()
        del coro
        gc.collect()


def test_what_inspect_says(sleep):
    assert inspect.iscoroutinefunction(sleep)
    assert str(inspect.signature(sleep)) == "(delay, result=None)"
    assert sleep.__name__ == "sleep" and sleep.__module__ == "asyncio.tasks"
    assert sleep.__doc__
    coro = sleep(1)
    assert asyncio.iscoroutine(coro)
    assert isinstance(coro, collections.abc.Coroutine)
    assert inspect.isawaitable(coro)
    coro.close()


async def test_driven_by_hand(sleep):
    coro = sleep(0, "x")
    assert coro.send(None) is None
    with pytest.raises(StopIteration) as stopped:
        coro.send(None)
    assert stopped.value.value == "x"
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        coro.send(None)
    coro = sleep(0)
    coro.send(None)
    with pytest.raises(KeyError):
        coro.throw(KeyError("thrown"))


async def test_a_foreign_task_sleeps_too(sleep):
    async def body():
        return await sleep(0.001, 5)

    loop = asyncio.get_running_loop()
    assert await asyncio.tasks._CTask(body(), loop=loop) == 5
    assert await asyncio.tasks._PyTask(body(), loop=loop) == 5


def test_no_loop_no_sleep(sleep):
    with pytest.raises(RuntimeError, match="no running event loop"):
        sleep(1).send(None)


def test_pickled_by_name():
    penstock.install()
    try:
        assert pickle.loads(pickle.dumps(asyncio.sleep)) is asyncio.sleep
    finally:
        penstock.uninstall()
