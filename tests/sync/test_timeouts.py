"""timeout() and timeout_at(), asyncio's and penstock's, on both loops."""

import asyncio
import contextvars
import functools
import gc
import inspect
import math
import sys
import types
import warnings
import weakref
from types import SimpleNamespace

import penstock
import pytest

STOCK = SimpleNamespace(timeout=asyncio.timeouts.timeout, timeout_at=asyncio.timeouts.timeout_at)
NATIVE = SimpleNamespace(timeout=penstock.timeout, timeout_at=penstock.timeout_at)
SOON = 0.001


@pytest.fixture(params=["stock", "native"])
def timeouts(request):
    return STOCK if request.param == "stock" else NATIVE


def forever():
    return asyncio.get_running_loop().create_future()


def the_task():
    task = asyncio.current_task()
    assert task is not None
    return task


class TestInTime:
    @pytest.mark.parametrize("delay", [1000, 1000.5, None, math.inf, True, 10**30])
    async def test_states(self, timeouts, delay):
        begin = asyncio.get_running_loop().time()
        timeout = timeouts.timeout(delay)
        assert repr(timeout) == "<Timeout [created]>"
        async with timeout as entered:
            assert entered is timeout
            when = timeout.when()
            if delay is None:
                assert when is None and repr(timeout) == "<Timeout [active] when=None>"
            else:
                assert type(when) is float and begin + delay <= when <= begin + delay + 60
                assert repr(timeout) == f"<Timeout [active] when={round(when, 3)}>"
            await asyncio.sleep(0)
        assert repr(timeout) == "<Timeout [finished]>" and not timeout.expired()
        assert timeout.when() == when and the_task().cancelling() == 0

    async def test_timeout_at_keeps_what_it_is_given(self, timeouts):
        when = math.ceil(asyncio.get_running_loop().time()) + 1000
        async with timeouts.timeout_at(when) as timeout:
            assert timeout.when() is when
        async with timeouts.timeout_at(None) as timeout:
            assert timeout.when() is None

    async def test_what_the_block_raises(self, timeouts):
        error = KeyError()
        with pytest.raises(KeyError) as caught:
            async with timeouts.timeout(1000) as timeout:
                raise error
        assert caught.value is error and error.__context__ is None
        assert repr(timeout) == "<Timeout [finished]>"

    async def test_a_block_that_is_cancelled(self, timeouts):
        async def block():
            async with timeouts.timeout(1000):
                await forever()

        task = asyncio.create_task(block())
        await asyncio.sleep(0)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert task.cancelling() == 1

    async def test_nothing_is_left_of_thousands(self, timeouts):
        for _ in range(5000):
            async with timeouts.timeout(1000) as timeout:
                await asyncio.sleep(0)
        gone = weakref.ref(timeout)
        del timeout
        await asyncio.sleep(SOON)  # the last value that an `await` gave is kept for the turn
        assert gone() is None

    async def test_odd_numbers(self, timeouts):
        for bad in ("1", object(), 1j):
            with pytest.raises(TypeError):
                async with timeouts.timeout(bad):
                    pass
        with pytest.raises(TypeError):
            async with timeouts.timeout_at("1"):
                pass
        with pytest.raises(TypeError):
            timeouts.timeout()
        with pytest.raises(TypeError):
            timeouts.timeout(1, 2)
        async with timeouts.timeout(delay=1000), timeouts.timeout_at(when=math.inf):
            pass


class TestExpired:
    @pytest.mark.parametrize("delay", [SOON, 0, -1, 0.0, -math.inf])
    async def test_states(self, timeouts, delay):
        with pytest.raises(TimeoutError) as caught:
            async with timeouts.timeout(delay) as timeout:
                try:
                    await forever()
                finally:
                    assert timeout.expired() and the_task().cancelling() == 1
                    assert repr(timeout) == "<Timeout [expiring]>"
        assert timeout.expired() and repr(timeout) == "<Timeout [expired]>"
        assert the_task().cancelling() == 0
        assert caught.value.args == ()
        if sys.version_info >= (3, 11, 3):
            assert type(caught.value.__cause__) is asyncio.CancelledError

    async def test_a_deadline_that_is_past(self, timeouts):
        now = asyncio.get_running_loop().time()
        order = []
        asyncio.get_running_loop().call_soon(order.append, "earlier")
        with pytest.raises(TimeoutError):
            async with timeouts.timeout_at(now - 1):
                asyncio.get_running_loop().call_soon(order.append, "later")
                try:
                    await forever()
                finally:
                    order.append("cancelled")
        assert order == ["earlier", "later", "cancelled"]

    async def test_the_block_may_end_before_it_hears_of_it(self, timeouts):
        async with timeouts.timeout(0) as timeout:
            pass
        await asyncio.sleep(0)
        assert not timeout.expired()

    async def test_the_block_may_end_in_spite_of_it(self, timeouts):
        async with timeouts.timeout(SOON) as timeout:
            with pytest.raises(asyncio.CancelledError):
                await forever()
        assert timeout.expired() and the_task().cancelling() == 0
        await asyncio.sleep(0)

    @pytest.mark.parametrize("inner, outer", [(SOON, 1000), (1000, SOON), (SOON, None)])
    async def test_nested(self, timeouts, inner, outer):
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(outer) as outside:
                async with timeouts.timeout(inner) as inside:
                    await forever()
        assert (inside.expired(), outside.expired()) == (inner == SOON, outer == SOON)
        assert the_task().cancelling() == 0

    async def test_in_the_order_of_their_deadlines(self, timeouts):
        now = asyncio.get_running_loop().time()
        order = []

        async def wait(number):
            with pytest.raises(TimeoutError):
                async with timeouts.timeout_at(now + 0.01 + number % 10 / 1000):
                    await forever()
            order.append(number % 10)

        await asyncio.gather(*[wait(number * 7) for number in range(50)])
        assert order == sorted(order)

    async def test_together_with_a_cancellation(self, timeouts):
        async def block():
            async with timeouts.timeout(0):
                task.get_loop().call_soon(task.cancel, "why")
                await forever()

        task = asyncio.create_task(block())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1

    async def test_in_the_context_and_of_no_task(self, timeouts):
        variable = contextvars.ContextVar("variable", default="nobody's")
        seen = []

        class Waits(asyncio.Future):
            def cancel(self, msg=None):
                seen.append((variable.get(), asyncio.current_task(), msg))
                return super().cancel(msg)

        async def block():
            variable.set("the task's")
            async with timeouts.timeout(SOON):
                variable.set("later")
                await Waits()

        with pytest.raises(TimeoutError):
            await asyncio.create_task(block())
        assert seen == [("the task's", None, None)]

    async def test_a_cancel_that_fails(self, timeouts):
        class Stubborn(asyncio.Future):
            def cancel(self, msg=None):
                raise KeyError("not now")

        reports = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        waits = Stubborn()
        loop.call_later(0.05, lambda: waits.done() or waits.set_result("at last"))
        async with timeouts.timeout(SOON) as timeout:
            assert await waits == "at last"
        assert repr(timeout) == "<Timeout [finished]>"
        [report] = reports
        assert type(report["exception"]) is KeyError
        assert report["message"].startswith("Exception in callback Timeout._on_timeout()")
        assert isinstance(report["handle"], asyncio.TimerHandle)


class TestReschedule:
    async def test_there_and_back(self, timeouts):
        time = asyncio.get_running_loop().time
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(None) as timeout:
                for delay in (1000, None, 2000, 500, 3000.5, 10**30, math.inf):
                    when = None if delay is None else time() + delay
                    timeout.reschedule(when)
                    assert timeout.when() == when and "active" in repr(timeout)
                timeout.reschedule(when=time() + SOON)
                await forever()
        assert timeout.expired()

    async def test_what_was_put_off_is_void(self, timeouts):
        time = asyncio.get_running_loop().time
        async with timeouts.timeout(SOON) as timeout:
            timeout.reschedule(time() + 1000)
            await asyncio.sleep(0.01)
        async with timeouts.timeout(SOON) as timeout:
            timeout.reschedule(None)
            await asyncio.sleep(0.01)

    async def test_into_the_past(self, timeouts):
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(1000) as timeout:
                timeout.reschedule(0)
                assert timeout.when() == 0
                await forever()

    async def test_by_a_callback(self, timeouts):
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(1000) as timeout:
                loop.call_soon(lambda: timeout.reschedule(loop.time() + SOON))
                await forever()

    async def test_thousands_of_times(self, timeouts):
        time = asyncio.get_running_loop().time
        async with timeouts.timeout(1000) as timeout:
            for _ in range(5000):
                timeout.reschedule(time() + 1000)
            await asyncio.sleep(0)
        assert not timeout.expired()

    async def test_out_of_turn(self, timeouts):
        timeout = timeouts.timeout(1000)
        with pytest.raises((RuntimeError, AssertionError)):
            timeout.reschedule(1)
        async with timeout:
            with pytest.raises(TypeError):
                timeout.reschedule()
            with pytest.raises(TypeError):
                timeout.reschedule("soon")
            timeout.reschedule(None)
        with pytest.raises(RuntimeError, match="Cannot change state of finished Timeout"):
            timeout.reschedule(1)
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(0) as timeout:
                try:
                    await forever()
                finally:
                    with pytest.raises(RuntimeError, match="of expiring Timeout"):
                        timeout.reschedule(None)


class TestMisuse:
    @pytest.mark.skipif(sys.version_info < (3, 11, 3), reason="entered again and again until then")
    async def test_entered_twice(self, timeouts):
        timeout = timeouts.timeout(1000)
        async with timeout:
            with pytest.raises(RuntimeError, match="Timeout has already been entered"):
                async with timeout:
                    pass
        with pytest.raises(RuntimeError, match="Timeout has already been entered"):
            async with timeout:
                pass

    def test_without_a_task(self, loop, timeouts):
        raised = []

        def callback():
            try:
                timeouts.timeout(1).__aenter__().send(None)
            except RuntimeError as error:
                raised.append(str(error))

        loop.call_soon(callback)
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert raised == ["Timeout should be used inside a task"]

    def test_without_a_loop(self, timeouts):
        with pytest.raises(RuntimeError, match="no running event loop"):
            timeouts.timeout(1)
        timeout = timeouts.timeout_at(1)
        with pytest.raises(RuntimeError):
            timeout.__aenter__().send(None)
        assert timeout.when() == 1

    async def test_left_without_having_been_entered(self, timeouts):
        with pytest.raises(AssertionError):
            await timeouts.timeout(1).__aexit__(None, None, None)

    async def test_left_twice(self, timeouts):
        async with timeouts.timeout(1) as timeout:
            pass
        with pytest.raises(AssertionError):
            await timeout.__aexit__(None, None, None)

    async def test_entered_and_let_go(self, timeouts):
        async def enter():
            await timeouts.timeout(SOON).__aenter__()
            gc.collect()
            await forever()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(enter())


class TestObject:
    async def test_what_it_is(self, timeouts):
        timeout = timeouts.timeout(1)
        assert isinstance(timeout, asyncio.Timeout)
        assert timeout.__class__ is asyncio.Timeout
        timeout.note = "mine"
        assert vars(timeout)["note"] == "mine"
        assert weakref.ref(timeout)() is timeout

    async def test_coroutines(self, timeouts):
        timeout = timeouts.timeout(1)
        for method, args in ((timeout.__aenter__, ()), (timeout.__aexit__, (None,) * 3)):
            assert inspect.iscoroutinefunction(method)
            with pytest.warns(RuntimeWarning, match=f"'{method.__qualname__}' was never awaited"):
                method(*args)
                gc.collect()
            coroutine = method(*args)
            assert asyncio.iscoroutine(coroutine)
            with pytest.raises(KeyError):
                coroutine.throw(KeyError())
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                coroutine.send(None)
        assert repr(timeout) == "<Timeout [created]>"

    async def test_the_functions(self, timeouts):
        for name, parameter in (("timeout", "delay"), ("timeout_at", "when")):
            function = getattr(timeouts, name)
            assert function.__name__ == name and function.__doc__
            assert list(inspect.signature(function).parameters) == [parameter]
            assert not inspect.iscoroutinefunction(function)

    async def test_private_attributes(self, timeouts):
        timeout = timeouts.timeout_at(asyncio.get_running_loop().time() + 1000)
        assert timeout._timeout_handler is None and timeout._task is None
        async with timeout:
            assert timeout._state.value == "active" and timeout._task is the_task()
            handle = timeout._timeout_handler
            assert isinstance(handle, asyncio.TimerHandle) and handle.when() == timeout.when()
            assert "Timeout._on_timeout" in repr(handle)
            assert timeout._timeout_handler is handle and not handle.cancelled()
        assert handle.cancelled() and timeout._timeout_handler is None

    async def test_a_handle_that_was_looked_at_does_its_work(self, timeouts):
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(SOON) as timeout:
                assert timeout._timeout_handler.when() == timeout.when()
                await forever()


class TestLoops:
    def test_in_debug_mode(self, run, timeouts):
        async def main():
            async with timeouts.timeout(1000) as timeout:
                timeout.reschedule(asyncio.get_running_loop().time() + 2000)
                await asyncio.sleep(0)
            with pytest.raises(TimeoutError):
                async with timeouts.timeout(SOON):
                    await forever()

        run(main(), debug=True)

    def test_debug_mode_that_comes_and_goes(self, run, timeouts):
        async def main():
            loop = asyncio.get_running_loop()
            for before, within in ((False, True), (True, False)):
                loop.set_debug(before)
                with pytest.raises(TimeoutError):
                    async with timeouts.timeout(SOON):
                        loop.set_debug(within)
                        await forever()
                async with timeouts.timeout(1000):
                    loop.set_debug(before)

        run(main())

    @pytest.mark.parametrize("method", ["call_at", "time"])
    def test_the_programs_own_timers_see_it(self, new_loop, timeouts, method):
        calls = []
        loop = new_loop()
        stock = getattr(loop, method)

        @functools.wraps(stock)
        def watched(*args, **keywords):
            calls.append(method)
            return stock(*args, **keywords)

        setattr(loop, method, watched)

        async def main():
            async with timeouts.timeout(1000):
                assert calls
                calls.clear()
            with pytest.raises(TimeoutError):
                async with timeouts.timeout(SOON):
                    await forever()
            assert calls

        loop.run_until_complete(main())
        loop.close()

    def test_a_clock_of_ones_own(self, new_loop, timeouts):
        loop = new_loop()
        now = 100.0
        loop.time = lambda: now

        async def main():
            nonlocal now
            with pytest.raises(TimeoutError):
                async with timeouts.timeout(50) as timeout:
                    assert timeout.when() == 150
                    await asyncio.sleep(0)
                    now = 150.0
                    await forever()

        loop.run_until_complete(main())
        loop.close()

    @pytest.mark.asyncio_since(3, 12)
    @pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
    async def test_in_an_eager_task_of_asyncios(self, timeouts):
        loop = asyncio.get_running_loop()

        async def block():
            async with timeouts.timeout(SOON) as timeout:
                assert timeout._task is the_task()
                await forever()

        eager = asyncio.tasks._PyTask(block(), loop=loop, eager_start=True)
        with pytest.raises(TimeoutError):
            await eager
        assert the_task().cancelling() == 0

    def test_a_run_that_ends_within(self, new_loop, timeouts):
        loop = new_loop()

        async def block():
            async with timeouts.timeout(1000) as timeout:
                gone.append(weakref.ref(timeout))
                await forever()

        gone = []
        task = loop.create_task(block())
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        task._log_destroy_pending = False
        del task, loop
        gc.collect()
        assert gone[0]() is None


# ---- told in the same words ------------------------------------------------------------------


def chain(error):
    """An exception and what it came of, as far as a program may see it."""
    told = []
    while error is not None and len(told) < 10:
        told.append(
            (type(error).__name__, error.args if len(told) else (), error.__cause__ is None)
        )
        error = error.__context__
    return told


async def fails_at_the_end(timeouts, told):
    async with timeouts.timeout(0):
        try:
            await forever()
        finally:
            raise KeyError("of its own")


async def fails_with_a_group(timeouts, told):
    async with timeouts.timeout(0):
        try:
            await forever()
        except asyncio.CancelledError:
            try:
                raise KeyError("within")
            except KeyError as error:
                raise ExceptionGroup("all", [error]) from None


async def fails_within_a_task_group(timeouts, told):
    async def fail():
        try:
            await forever()
        finally:
            raise KeyError("within")

    async with timeouts.timeout(0), asyncio.TaskGroup() as group:
        group.create_task(fail())


async def cancels_itself_before(timeouts, told):
    the_task().cancel("earlier")
    async with timeouts.timeout(0):
        try:
            await forever()
        finally:
            told.append(the_task().cancelling())


async def cancelled_before_it_began(timeouts, told):
    the_task().cancel("earlier")
    try:
        await forever()
    except asyncio.CancelledError:
        told.append(the_task().cancelling())
    async with timeouts.timeout(0):
        await forever()


async def handles_another_exception(timeouts, told):
    try:
        raise KeyError("before")
    except KeyError:
        async with timeouts.timeout(0):
            await forever()


async def two_at_a_time(timeouts, told):
    async with timeouts.timeout(0) as outer:
        try:
            async with timeouts.timeout(0) as inner:
                await forever()
        finally:
            told.extend([repr(inner), repr(outer), the_task().cancelling()])


async def cancelled_as_it_leaves(timeouts, told):
    async with timeouts.timeout(0) as timeout:
        try:
            await forever()
        finally:
            the_task().cancel("as it leaves")
            told.extend([repr(timeout), the_task().cancelling()])


async def a_subclass_of_cancelled_error(timeouts, told):
    class Special(asyncio.CancelledError):
        pass

    async with timeouts.timeout(0):
        try:
            await forever()
        except asyncio.CancelledError:
            raise Special("another") from None


async def uncancelled_within(timeouts, told):
    async with timeouts.timeout(0):
        try:
            await forever()
        except asyncio.CancelledError:
            told.append(the_task().uncancel())
            raise


async def swallowed_and_awaits_again(timeouts, told):
    async with timeouts.timeout(0):
        try:
            await forever()
        except asyncio.CancelledError:
            told.append(await asyncio.sleep(0, "slept"))
    await asyncio.sleep(0)
    told.append("went on")


async def by_hand(timeouts, told):
    timeout = timeouts.timeout(0)
    await timeout.__aenter__()
    error = ValueError("by hand")
    try:
        await forever()
    except asyncio.CancelledError:
        told.append(await timeout.__aexit__(ValueError, error, None))
    told.extend(chain(error))


BODIES = [
    body
    for name, body in list(globals().items())
    if isinstance(body, types.FunctionType) and inspect.iscoroutinefunction(body)
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("delay", [0, SOON])
def test_the_same_is_told(run, body, delay):
    def tell(timeouts):
        told = []
        waits = SimpleNamespace(timeout=lambda seconds: timeouts.timeout(seconds + delay))

        async def main():
            task = asyncio.create_task(body(waits, told))
            try:
                await task
            except BaseException as error:
                told.append(chain(error))
            told.append(task.cancelling())

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(main())
        return told

    assert tell(NATIVE) == tell(STOCK)
