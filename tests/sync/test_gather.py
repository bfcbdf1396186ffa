"""gather(): order, turns, results, cancellation and what it shows, asyncio's own as the oracle."""

import asyncio
import contextvars
import gc
import inspect
import pickle
import re
import sys
import weakref

import penstock
import pytest

STOCK = asyncio.tasks.gather
STOCK_FUTURE = asyncio.tasks._GatheringFuture

needs_native_task = pytest.mark.skipif(
    not penstock._core.native_task, reason=f"no native Task: {penstock._core.why_stock_task}"
)


@pytest.fixture(params=["stock", "native"])
def gather(request):
    return STOCK if request.param == "stock" else penstock.gather


@pytest.fixture
def installed():
    penstock.install()
    yield
    penstock.uninstall()


async def value(answer, turns=0):
    for _ in range(turns):
        await asyncio.sleep(0)
    return answer


async def fail(error, turns=0):
    await value(None, turns)
    raise error


async def turns_until(future):
    turns = 0
    while not future.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def cancellation_of(future):
    with pytest.raises(asyncio.CancelledError) as caught:
        await future
    return caught.value.args


# ---- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 129, 1000])
async def test_results_are_in_the_order_of_the_arguments(gather, count):
    outer = gather(*[value(i, -i % 4) for i in range(count)])
    assert await outer == list(range(count))


async def test_nothing_is_a_future_of_the_loop_that_is_done(gather):
    empty = gather()
    assert empty.done() and empty.result() == []
    assert empty.get_loop() is asyncio.get_running_loop()
    assert gather(return_exceptions=True).result() == []


async def test_coroutines_futures_tasks_and_awaitables(gather):
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "awaitable"

    loop = asyncio.get_running_loop()
    future, done = loop.create_future(), loop.create_future()
    done.set_result("done")
    loop.call_soon(future.set_result, "future")
    some = (value("coroutine", 1), future, loop.create_task(value("task")), done)
    assert await gather(*some) == ["coroutine", "future", "task", "done"]
    assert await gather(Awaitable(), done) == ["awaitable", "done"]
    assert await gather(asyncio.sleep(0, "sleep"), penstock._core.sleep(0, 1)) == ["sleep", 1]
    assert await gather(gather(value(1), done), value(2)) == [[1, "done"], 2]


@pytest.mark.parametrize("count", [2, 300])
async def test_equal_arguments_share_one_future(gather, count):
    loop = asyncio.get_running_loop()
    once, future = value("once", 1), loop.create_future()
    loop.call_soon(future.set_result, "shared")
    outer = gather(*[once, future] * count, value("other"))
    assert len(set(outer._children)) == 3
    assert len(asyncio.all_tasks()) == 3
    assert await outer == ["once", "shared"] * count + ["other"]


async def test_equality_is_the_awaitables_own(gather):
    class Equal:
        def __init__(self, answer):
            self.answer = answer

        def __eq__(self, other):
            return isinstance(other, Equal)

        def __hash__(self):
            return 1

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return self.answer

    assert await gather(Equal("first"), Equal("second")) == ["first", "first"]

    class Unhashable:
        __hash__ = None

        def __await__(self):
            yield

    with pytest.raises(TypeError, match="unhashable"):
        gather(Unhashable())


async def test_nothing_begins_at_once(gather):
    begun = []

    async def begin():
        begun.append(1)

    outer = gather(begin(), begin())
    assert begun == [] and not outer.done()
    await outer
    assert begun == [1, 1]


async def test_what_is_done_counts_at_once_where_asyncio_has_it_so(gather):
    loop = asyncio.get_running_loop()
    done, failed, cancelled = (loop.create_future() for _ in range(3))
    done.set_result(1)
    failed.set_exception(ValueError())
    cancelled.cancel()
    at_once = sys.version_info >= (3, 12)
    outers = [gather(done, done), gather(done, failed), gather(done, cancelled)]
    assert [outer.done() for outer in outers] == [at_once] * 3
    assert await outers[0] == [1, 1]
    with pytest.raises(ValueError):
        await outers[1]
    await cancellation_of(outers[2])


@pytest.mark.parametrize("turns", range(4))
async def test_takes_as_many_turns_as_asyncios(turns):
    expected = await turns_until(STOCK(value(1, turns), value(2)))
    assert await turns_until(penstock.gather(value(1, turns), value(2))) == expected


async def test_wakes_in_asyncios_order():
    async def told(gather):
        told = []
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def tell(what, turns):
            for turn in range(turns):
                await asyncio.sleep(0)
                told.append((what, turn))

        async def collect(name, *awaitables):
            await gather(*awaitables)
            told.append(name)

        some = [collect("a", tell("x", 2), future), collect("b", future, tell("y", 1))]
        tasks = [loop.create_task(one) for one in [*some, tell("z", 7)]]
        future.add_done_callback(lambda _: told.append("future"))
        await asyncio.sleep(0)
        loop.call_soon(future.set_result, None)
        future.add_done_callback(lambda _: told.append("future, last"))
        await asyncio.wait(tasks)
        return told

    assert await told(STOCK) == await told(penstock.gather)


# ---- exceptions ----------------------------------------------------------------------------------


async def test_the_first_exception_is_its_own_at_once(gather):
    slow = asyncio.create_task(value("slow", 5))
    error = ValueError("first")
    outer = gather(slow, fail(error, 1), fail(KeyError("second"), 2))
    with pytest.raises(ValueError) as caught:
        await outer
    assert caught.value is error
    assert not slow.done() and await slow == "slow"


async def test_exceptions_as_results(gather):
    loop = asyncio.get_running_loop()
    error, cancelled, told = ValueError(), loop.create_future(), loop.create_future()
    cancelled.cancel()
    told.cancel("why")
    outer = gather(value(1), fail(error), cancelled, told, return_exceptions=True)
    results = await outer
    assert results[:2] == [1, error]
    assert [type(one) for one in results[2:]] == [asyncio.CancelledError] * 2
    assert [one.args for one in results[2:]] == [("",), ("why",)]


async def test_the_flag_is_whatever_is_true(gather):
    assert isinstance((await gather(fail(ValueError()), return_exceptions=[1]))[0], ValueError)
    with pytest.raises(ValueError):
        await gather(fail(ValueError()), return_exceptions="")


async def test_no_exception_is_told_of_that_came_too_late(gather):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with pytest.raises(ValueError):
        await gather(fail(ValueError()), fail(KeyError(), 2), fail(OSError(), 1))
    await value(None, 5)
    gc.collect()
    assert told == []


async def test_an_outcome_that_nobody_asks_for_is_told_of(gather):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    outer = gather(fail(ValueError("unseen")))
    await value(None, 5)
    assert outer._log_traceback
    shown = repr(outer)
    del outer
    gc.collect()
    [context] = told
    assert context["message"] == "_GatheringFuture exception was never retrieved"
    assert str(context["exception"]) == "unseen"
    assert shown == "<_GatheringFuture finished exception=ValueError('unseen')>"


async def test_its_tasks_may_go_unfinished(gather):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    outer = gather(value(1, 9), value(2, 9))
    assert [task._log_destroy_pending for task in outer._children] == [False, False]
    outer.cancel()
    await cancellation_of(outer)


# ---- cancellation --------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [False, True])
async def test_cancels_its_children(gather, flag):
    children = [asyncio.create_task(value(i, 9)) for i in range(3)]
    outer = gather(*children, value(4, 9), return_exceptions=flag)
    await asyncio.sleep(0)
    assert outer.cancel("why")
    assert outer._cancel_requested
    assert not outer.done() and not outer.cancelled()
    assert await cancellation_of(outer) == ("why",)
    assert outer.done()
    assert all(child.cancelled() for child in outer._children)
    # The exception is the outcome, and no cancellation of the future itself.
    assert not outer.cancelled()
    assert outer.cancel() is False


async def test_a_task_that_waits_for_it_passes_the_cancellation_on(gather):
    child = asyncio.create_task(value(1, 9))

    async def wait():
        await gather(child, value(2, 9))

    task = asyncio.create_task(wait())
    await value(None, 2)
    task.cancel("outside")
    assert await cancellation_of(task) == ("outside",)
    assert child.cancelled()


async def test_cancelled_with_nothing_left_to_cancel(gather):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    outer = gather(future)
    future.set_result(1)
    assert outer.cancel() is False
    assert not outer._cancel_requested
    assert await outer == [1]


async def test_children_that_take_no_notice(gather):
    async def stay():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return "stayed"

    outer = gather(stay(), stay())
    await asyncio.sleep(0)
    assert outer.cancel("why")
    assert await cancellation_of(outer) == ()
    assert [child.result() for child in outer._children] == ["stayed"] * 2


async def test_a_child_that_is_cancelled_fails_it(gather):
    child = asyncio.create_task(value(1, 9))
    outer = gather(child, value(2, 1))
    await asyncio.sleep(0)
    child.cancel("child")
    assert await cancellation_of(outer) == ("child",)
    assert not outer._cancel_requested


async def test_a_child_whose_cancel_raises(gather):
    class Odd(asyncio.Future):
        def cancel(self, msg=None):
            raise OSError(msg)

    loop = asyncio.get_running_loop()
    odd = Odd(loop=loop)
    outer = gather(value(1), odd)
    with pytest.raises(OSError, match="why"):
        outer.cancel("why")
    odd.set_result(2)
    await asyncio.wait([outer])


# ---- who may call it how -------------------------------------------------------------------------


async def test_futures_of_another_loop(gather, new_loop):
    other = new_loop()
    stranger = other.create_future()
    own = asyncio.get_running_loop().create_future()
    try:
        with pytest.raises(ValueError, match="belongs to a different loop"):
            gather(own, stranger)
        if sys.version_info < (3, 14):
            assert gather(stranger).get_loop() is other
        else:
            with pytest.raises(ValueError, match="belongs to a different loop"):
                gather(stranger)
    finally:
        other.close()


@pytest.mark.parametrize("wrong", [5, "text", None, [1]])
async def test_what_is_no_awaitable(gather, wrong):
    with pytest.raises(TypeError):
        gather(wrong)


async def test_other_keywords(gather):
    with pytest.raises(TypeError, match="unexpected keyword argument 'loop'"):
        gather(loop=1)


def test_futures_while_nothing_runs(gather, loop):
    future = loop.create_future()
    outer = gather(future, future)
    future.set_result(1)
    assert loop.run_until_complete(outer) == [1, 1]


def test_coroutines_while_nothing_runs(gather, loop):
    asyncio.set_event_loop(loop)
    try:
        outer = gather(value(1))
        assert loop.run_until_complete(outer) == [1]
    finally:
        asyncio.set_event_loop(None)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.filterwarnings("ignore:coroutine")
def test_in_debug_mode_and_after_it(gather, run, debug):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        outer = gather(value(1, 2), future)
        loop.set_debug(not debug)
        future.set_result(2)
        assert await outer == [1, 2]
        assert (outer._source_traceback is not None) == debug or loop is None

    run(main(), debug=debug)


def test_a_loop_that_makes_tasks_of_its_own(gather, own_tasks):
    loop, made = own_tasks

    async def main():
        return await gather(value(1), value(2))

    assert loop.run_until_complete(main()) == [1, 2]
    assert len(made) == 3


async def test_a_call_soon_that_is_replaced_later(gather):
    loop = asyncio.get_running_loop()
    future, called = loop.create_future(), []
    outer = gather(future)
    stock = type(loop).call_soon

    def call_soon(callback, *args, context=None):
        called.append(callback)
        return stock(loop, callback, *args, context=context)

    loop.call_soon = call_soon
    future.set_result(1)
    assert await outer == [1]
    del loop.call_soon
    assert called


async def test_a_context_variable_reaches_its_tasks(gather):
    variable = contextvars.ContextVar("variable")

    async def read():
        return variable.get()

    variable.set(1)
    outer = gather(read(), read())
    variable.set(2)
    assert await outer == [1, 1]


async def test_an_eager_factory_starts_them_at_once(gather):
    if sys.version_info < (3, 12):
        pytest.skip("asyncio.eager_task_factory came with 3.12")
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    outer = gather(value(1), value(2))
    assert outer.done() and outer.result() == [1, 2]
    assert await gather(value(1, 1), value(2)) == [1, 2]


# ---- what it shows -------------------------------------------------------------------------------


def without_names(shown):
    return re.sub(r"Task-\d+|0x[0-9a-f]+", "…", shown)


async def test_shows_what_asyncios_shows():
    loop = asyncio.get_running_loop()

    def shown(gather):
        future = loop.create_future()
        outer = gather(value(1), future)
        pending = [repr(outer), *map(repr, outer._children)]
        future.set_result(1)
        return [without_names(one) for one in pending], outer

    (expected, first), (actual, second) = shown(STOCK), shown(penstock.gather)
    assert actual == expected
    await first, await second
    assert repr(first) == repr(second) == "<_GatheringFuture finished result=[1, 1]>"


async def test_its_callback_can_be_taken_off_and_called(gather):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    outer = gather(future)
    [(callback, _)] = future._callbacks
    assert future.remove_done_callback(callback) == 1
    future.set_result(1)
    await value(None, 3)
    assert not outer.done()
    callback(future)
    assert outer.result() == [1]
    with pytest.raises(TypeError):
        callback()


async def test_its_callback_given_to_call_soon(gather):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    outer = gather(future)
    [(callback, _)] = future._callbacks
    future.set_result(1)
    for _ in range(20):
        loop.call_soon(callback, future)
    assert await outer == [1]
    await value(None, 3)


async def test_children_that_are_changed(gather):
    outer = gather(value(1), value(2))
    outer._children.clear()
    assert await outer == []


def test_a_function_like_asyncios():
    assert inspect.signature(penstock.gather) == inspect.signature(STOCK)
    assert pickle.loads(pickle.dumps(penstock.gather)) is penstock.gather
    assert penstock.gather.__name__ == "gather"


@needs_native_task
async def test_install_puts_it_in_place_and_uninstall_back(installed):
    assert asyncio.gather is asyncio.tasks.gather is penstock.gather
    for made in (asyncio.gather(value(1)), STOCK(value(2))):
        assert isinstance(made, (asyncio.Future)) and isinstance(made, STOCK_FUTURE)
        assert isinstance(made, asyncio.tasks._GatheringFuture)
        await made
    penstock.uninstall()
    assert asyncio.gather is asyncio.tasks.gather is STOCK
    assert asyncio.tasks._GatheringFuture is STOCK_FUTURE


# ---- the end -------------------------------------------------------------------------------------


@needs_native_task
@pytest.mark.penstock_only("asyncio's is in a cycle with its callback")
async def test_nothing_is_left_of_it():
    class Answer:
        pass

    gc.collect()
    gc.disable()
    try:
        outer = penstock.gather(value(Answer()), value(Answer(), 1))
        await outer
        gone = [weakref.ref(outer), *map(weakref.ref, outer.result())]
        del outer
        await penstock.gather(value(None))  # the last answer may be kept for a turn (3.12+)
        assert [one() for one in gone] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:coroutine", "ignore::ResourceWarning")
def test_a_loop_that_closes_first(gather, new_loop):
    loop = new_loop()

    async def begin():
        future = loop.create_future()
        outer = gather(future, future.get_loop().create_future())
        future.set_result(1)
        loop.stop()
        return weakref.ref(outer)

    task = loop.create_task(begin())
    loop.run_forever()
    gone = task.result()
    loop.close()
    del task
    gc.collect()
    assert gone() is None


async def test_chains_of_any_length_are_freed(gather):
    future = asyncio.get_running_loop().create_future()
    last = future
    for _ in range(20_000):
        last = gather(last)
    future.cancel()
    del last, future
    gc.collect()
