"""wait_for(), asyncio's and penstock's, on both loops."""

import asyncio
import contextvars
import gc
import inspect
import sys
import types
import warnings
import weakref
from types import SimpleNamespace

import penstock
import pytest

STOCK, NATIVE = asyncio.tasks.wait_for, penstock.wait_for
ATTEMPTS = 5
SOON = 0.001
HAS_TASK = sys.version_info < (3, 12)  # of its own, for a coroutine


@pytest.fixture(params=["stock", "native"])
def wait_for(request):
    return STOCK if request.param == "stock" else NATIVE


def forever():
    return asyncio.get_running_loop().create_future()


def the_task():
    task = asyncio.current_task()
    assert task is not None
    return task


async def returns(value):
    await asyncio.sleep(0)
    return value


class Custom:
    def __init__(self, awaitable):
        self.awaitable = awaitable

    def __await__(self):
        return (yield from self.awaitable.__await__())


@types.coroutine
def generator(awaitable):
    return (yield from awaitable.__await__())


LIMITS = [1000, 1000.5, None, True, 10**30, float("inf")]


@pytest.mark.parametrize("limit", LIMITS)
async def test_in_time(wait_for, limit):
    assert await wait_for(returns(5), limit) == 5
    assert await wait_for(fut=returns(5), timeout=limit) == 5
    assert await wait_for(asyncio.sleep(0, 6), timeout=limit) == 6
    assert await wait_for(asyncio.create_task(returns(7)), limit) == 7
    assert await wait_for(Custom(returns(8)), limit) == 8
    assert await wait_for(generator(returns(9)), limit) == 9
    assert await wait_for(wait_for(returns(10), 500), limit) == 10
    future = forever()
    asyncio.get_running_loop().call_soon(future.set_result, 11)
    assert await wait_for(future, limit) == 11
    assert await wait_for(future, limit) == 11
    with pytest.raises(KeyError):
        await wait_for(raises(), limit)
    assert the_task().cancelling() == 0


async def raises():
    await asyncio.sleep(0)
    raise KeyError("within")


@pytest.mark.parametrize("limit", [SOON, 0, -1])
async def test_too_late(wait_for, limit):
    async def waits():
        try:
            await forever()
        finally:
            ends.append(the_task().cancelling())

    ends = []
    for make in (waits, lambda: asyncio.create_task(waits()), lambda: Custom(forever()), forever):
        awaitable = make()
        with pytest.raises(TimeoutError) as caught:
            await wait_for(awaitable, limit)
        assert type(caught.value.__cause__) is asyncio.CancelledError
        if isinstance(awaitable, asyncio.Future):
            assert awaitable.cancelled()
    assert ends == ([1, 1] if limit == SOON else [])
    assert the_task().cancelling() == 0


async def test_whose_task_and_context(wait_for):
    variable = contextvars.ContextVar("variable", default="before")

    async def look():
        variable.set("within")
        return the_task()

    seen = await wait_for(look(), 1000)
    assert (seen is the_task()) is not HAS_TASK
    assert variable.get() == ("before" if HAS_TASK else "within")


async def test_what_it_is(wait_for):
    assert inspect.iscoroutinefunction(wait_for)
    assert str(inspect.signature(wait_for)) == "(fut, timeout)"
    coroutine = wait_for(forever(), 1)
    assert asyncio.iscoroutine(coroutine) and inspect.isawaitable(coroutine)
    assert coroutine.__qualname__ == "wait_for"
    coroutine.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await coroutine
    with pytest.warns(RuntimeWarning, match="'wait_for' was never awaited"):
        wait_for(forever(), 1)
        gc.collect()
    for arguments in ((), (1,), (1, 2, 3)):
        with pytest.raises(TypeError):
            wait_for(*arguments)


async def test_what_cannot_be_awaited(wait_for):
    for limit in (1000, 0):
        with pytest.raises(TypeError):
            await wait_for(5, limit)
    coroutine = returns(5)
    with pytest.raises(TypeError):
        await wait_for(coroutine, "soon")
    coroutine.close()


async def test_it_is_lazy(wait_for):
    begun = []

    async def begins():
        begun.append(True)

    coroutine = wait_for(begins(), 1000)
    await asyncio.sleep(0)
    assert not begun
    await coroutine
    assert begun


@pytest.mark.skipif(HAS_TASK, reason="its second task steps it")
async def test_a_coroutine_that_is_awaited_already(wait_for):
    gate = forever()

    async def waits():
        await gate

    shared = waits()
    first = asyncio.create_task(wait_for(shared, 1000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError):
        await wait_for(shared, 1000)
    gate.set_result(None)
    await first


async def test_nothing_is_left_of_thousands(wait_for):
    class Result:
        pass

    for _ in range(3000):
        result = await wait_for(asyncio.sleep(0, Result()), 1000)
    gone = weakref.ref(result)
    gc.disable()
    try:
        del result
        await wait_for(asyncio.sleep(0, 5), 1000)  # the last value is kept until the next
        assert gone() is None
    finally:
        gc.enable()


async def test_from_another_loop(wait_for):
    other = asyncio.new_event_loop()
    future = other.create_future()
    with pytest.raises((ValueError, RuntimeError)):
        await wait_for(future, 1000)
    other.close()


@pytest.mark.parametrize("debug", [False, True])
def test_a_task_factory_makes_its_task(run, wait_for, debug):
    made = []

    def factory(loop, coro, **keywords):
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **keywords)

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        assert await wait_for(returns(5), 1000) == 5
        assert len(made) == HAS_TASK

    run(main(), debug=debug)


@pytest.mark.skipif(not HAS_TASK, reason="no task")
def test_create_task_of_the_programs(new_loop, wait_for):
    loop = new_loop()
    made = []
    stock = loop.create_task
    loop.create_task = lambda coro, **keywords: made.append(coro) or stock(coro, **keywords)
    assert loop.run_until_complete(wait_for(returns(5), 1000)) == 5
    assert len(made) >= 1
    loop.close()


def test_a_run_that_ends_within(new_loop, wait_for):
    loop = new_loop()

    class Holds:
        pass

    async def waits(held):
        await wait_for(forever(), 1000)

    held = Holds()
    gone = weakref.ref(held)
    task = loop.create_task(waits(held))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    task._log_destroy_pending = False
    del task, loop, held
    gc.collect()
    assert gone() is None


async def test_closed_while_it_waits(wait_for):
    closed = []

    async def waits():
        try:
            await forever()
        finally:
            closed.append(True)

    coroutine = wait_for(waits(), SOON)
    coroutine.send(None)
    await asyncio.sleep(0)
    coroutine.close()
    assert bool(closed) is not HAS_TASK
    await asyncio.sleep(5 * SOON)
    assert the_task().cancelling() == 0
    for task in asyncio.all_tasks() - {the_task()}:
        task.cancel()


# ---- told in the same words ------------------------------------------------------------------


def chain(error):
    told = []
    while error is not None and len(told) < 10:
        told.append(
            (type(error).__name__, error.args if len(told) else (), error.__cause__ is None)
        )
        error = error.__context__
    return told


async def slow_to_end(tell):
    try:
        await forever()
    finally:
        for turn in range(3):
            tell(f"ends, {turn}")
            await asyncio.sleep(0)


async def gives_in(tell):
    try:
        await forever()
    except asyncio.CancelledError:
        tell("gives in")
        await asyncio.sleep(0)
        return "in spite of it"


async def fails_instead(tell):
    try:
        await forever()
    finally:
        raise KeyError("instead")


async def fails_at_once(tell):
    raise KeyError("at once")


async def ends_at_once(tell):
    return "at once"


async def waits_a_turn(tell):
    await asyncio.sleep(0)
    tell("slept")
    return "slept"


async def cancels_itself(tell):
    the_task().cancel("myself")
    await forever()


CHILDREN = [
    slow_to_end,
    gives_in,
    fails_instead,
    fails_at_once,
    ends_at_once,
    waits_a_turn,
    cancels_itself,
]
SCENES = ["alone", "cancelled", "cancelled twice", "cancelled late", "within", "as a task"]


@pytest.mark.parametrize("child", CHILDREN)
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("limit", [SOON, 0, 1000])
def test_the_same_is_told(run, child, scene, limit):
    if limit == 1000 and scene in ("alone", "within", "as a task") and child in CHILDREN[:3]:
        pytest.skip("would wait for ever")

    def tell(wait_for):
        told = []
        turn = 0

        async def waits():
            try:
                awaited = child(told.append)
                if scene == "as a task":
                    awaited = asyncio.create_task(awaited)
                if scene == "within":
                    try:
                        raise ValueError("handled")
                    except ValueError:
                        told.append(await wait_for(awaited, limit))
                else:
                    told.append(await wait_for(awaited, limit))
            except BaseException as error:
                told.append(chain(error))
                raise
            finally:
                told.append((the_task().cancelling(), turn if limit != SOON else None))
            await asyncio.sleep(0)
            told.append("goes on")

        async def main():
            nonlocal turn
            task = asyncio.create_task(waits())
            if scene in ("cancelled", "cancelled twice"):
                for _ in range(3):
                    await asyncio.sleep(0)
                    turn += 1
                told.append(task.cancel("from outside"))
            if scene == "cancelled twice":
                for _ in range(2):
                    await asyncio.sleep(0)
                    turn += 1
                told.append(task.cancel("once more"))
            if scene == "cancelled late":
                done = forever()
                asyncio.get_running_loop().call_later(10 * SOON, done.set_result, None)
                await done
                told.append(task.cancel("late"))
            while not task.done():
                await asyncio.sleep(0)
                turn += 1
            told.append((str(task.cancelled()), task.cancelling()))
            await asyncio.gather(task, return_exceptions=True)
            left = [other for other in asyncio.all_tasks() if other is not the_task()]
            told.append(len(left))
            await asyncio.gather(*left, return_exceptions=True)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(main())
        return told

    # On a busy machine two deadlines may fall into one turn: then it is not the same scene.
    for _ in range(ATTEMPTS - 1):
        if tell(NATIVE) == tell(STOCK):
            return
    assert tell(NATIVE) == tell(STOCK)


def test_stands_for_asyncios():
    assert SimpleNamespace(f=penstock.wait_for).f.__module__ == "asyncio.tasks"
