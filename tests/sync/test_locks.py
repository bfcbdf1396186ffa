"""Lock, Event and the semaphores: order, cancellation at every point, who may wait how."""

import asyncio
import collections.abc
import gc
import inspect
import re

import pytest


async def started(*coroutines):
    """Tasks that have come as far as they can."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def outcomes(tasks):
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return ["cancelled" if isinstance(one, asyncio.CancelledError) else one for one in found]


class TestLock:
    async def test_first_come_first_served(self, primitives):
        lock = primitives.Lock()
        order = []

        async def use(who):
            async with lock as bound:
                assert bound is None
                order.append(who)
                await asyncio.sleep(0)

        await asyncio.gather(*[use(who) for who in range(6)])
        assert order == list(range(6))
        assert not lock.locked()

    async def test_who_comes_between_release_and_wake_up_waits(self, primitives):
        lock = primitives.Lock()
        await lock.acquire()
        order = []

        async def use(who):
            await lock.acquire()
            order.append(who)
            lock.release()

        [first] = await started(use("first"))
        lock.release()
        await use("second")
        await first
        assert order == ["first", "second"]

    @pytest.mark.parametrize("is_released", [False, True])
    @pytest.mark.parametrize("victim", [0, 1, 2])
    async def test_a_cancelled_one_lets_the_next_one_go_on(self, primitives, victim, is_released):
        lock = primitives.Lock()
        await lock.acquire()
        tasks = await started(*[lock.acquire() for _ in range(3)])
        if is_released:
            lock.release()
        tasks[victim].cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await tasks[victim]
        if not is_released:
            lock.release()
        for task in tasks:
            if task is not tasks[victim]:
                assert await task is True
                lock.release()
        assert not lock.locked()

    async def test_all_waiters_cancelled_leave_it_free(self, primitives):
        lock = primitives.Lock()
        await lock.acquire()
        tasks = await started(*[lock.acquire() for _ in range(3)])
        for task in tasks:
            task.cancel()
        lock.release()
        assert await lock.acquire() is True  # jumps the queue
        assert await outcomes(tasks) == ["cancelled"] * 3

    async def test_a_release_too_many(self, primitives):
        with pytest.raises(RuntimeError, match=re.escape("Lock is not acquired.")):
            primitives.Lock().release()

    async def test_thrown_into(self, primitives):
        lock = primitives.Lock()
        await lock.acquire()
        coroutine = lock.acquire()
        coroutine.send(None)
        with pytest.raises(KeyError):
            coroutine.throw(KeyError("thrown"))
        lock.release()
        assert not lock.locked()
        assert await lock.acquire()

    async def test_closed_while_it_waits(self, primitives):
        lock = primitives.Lock()
        await lock.acquire()
        coroutine = lock.acquire()
        coroutine.send(None)
        assert len(lock._waiters) == 1
        coroutine.close()
        assert len(lock._waiters) == 0

    async def test_a_subclass_acquires_in_its_own_way(self, primitives):
        calls = []

        class Telling(primitives.Lock):
            async def acquire(self):
                calls.append("acquire")
                return await super().acquire()

            def release(self):
                calls.append("release")
                super().release()

        async with Telling() as bound:
            assert bound is None
        assert calls == ["acquire", "release"]

    async def test_a_condition_stands_on_it(self, primitives):
        condition = asyncio.Condition(primitives.Lock())
        told = []

        async def wait(who):
            async with condition:
                await condition.wait()
                told.append(who)

        tasks = await started(wait(1), wait(2))
        async with condition:
            condition.notify_all()
        await asyncio.gather(*tasks)
        assert told == [1, 2]

    async def test_foreign_tasks_wait_as_well(self, primitives):
        lock = primitives.Lock()
        loop = asyncio.get_running_loop()
        order = []

        async def use(who):
            async with lock:
                order.append(who)
                await asyncio.sleep(0)

        kinds = [asyncio.tasks._CTask, asyncio.tasks._PyTask, asyncio.Task] * 2
        await asyncio.gather(*[kind(use(i), loop=loop) for i, kind in enumerate(kinds)])
        assert order == list(range(6))

    def test_bound_to_the_first_loop_where_somebody_waited(self, primitives, new_loop):
        lock = primitives.Lock()

        async def wait():
            await lock.acquire()
            async with asyncio.timeout(0):
                await lock.acquire()

        for error in (TimeoutError, RuntimeError):
            loop = new_loop()
            try:
                with pytest.raises(error) as caught:
                    loop.run_until_complete(wait() if error is TimeoutError else lock.acquire())
            finally:
                loop.close()
        assert str(caught.value) == f"{lock!r} is bound to a different event loop"

    async def test_reprs(self, primitives):
        lock = primitives.Lock()
        assert repr(lock).endswith("[unlocked]>")
        await lock.acquire()
        [task] = await started(lock.acquire())
        assert repr(lock).endswith("[locked, waiters:1]>")
        lock.release()
        await task

    async def test_a_lock_that_nobody_else_holds_dies_with_its_waiters(self, primitives):
        lock = primitives.Lock()
        await lock.acquire()
        [task] = await started(lock.acquire())
        task._log_destroy_pending = False
        died = []
        import weakref

        weakref.finalize(task, died.append, "task")
        weakref.finalize(lock, died.append, "lock")
        del lock, task
        gc.collect()
        await asyncio.sleep(0)
        gc.collect()
        assert sorted(died) == ["lock", "task"]


class TestEvent:
    async def test_all_go_on_in_their_order(self, primitives):
        event = primitives.Event()
        order = []

        async def wait(who):
            assert await event.wait() is True
            order.append(who)

        tasks = await started(*[wait(who) for who in range(4)])
        tasks[1].cancel()
        event.set()
        event.clear()
        assert await outcomes(tasks) == [None, "cancelled", None, None]
        assert order == [0, 2, 3]
        assert not event.is_set()
        assert not event._waiters

    async def test_set_it_suspends_nobody(self, primitives):
        event = primitives.Event()
        event.set()
        with pytest.raises(StopIteration) as stopped:
            event.wait().send(None)
        assert stopped.value.value is True

    async def test_cancelled_after_it_was_woken(self, primitives):
        event = primitives.Event()
        [task] = await started(event.wait())
        event.set()
        task.cancel("too late?")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("too late?",)

    async def test_timeout(self, primitives):
        event = primitives.Event()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(event.wait(), 0.001)
        assert not event._waiters


class TestSemaphore:
    @pytest.mark.parametrize("name", ["Semaphore", "BoundedSemaphore"])
    async def test_so_many_at_once(self, primitives, name):
        semaphore = getattr(primitives, name)(2)
        inside, most = 0, 0

        async def use():
            nonlocal inside, most
            async with semaphore:
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*[use() for _ in range(10)])
        assert most == 2
        assert semaphore._value == 2
        assert not semaphore.locked()

    async def test_bounds(self, primitives):
        with pytest.raises(ValueError, match="Semaphore initial value must be >= 0"):
            primitives.Semaphore(-1)
        semaphore = primitives.BoundedSemaphore(1)
        with pytest.raises(ValueError, match="BoundedSemaphore released too many times"):
            semaphore.release()
        primitives.Semaphore(0).release()

    async def test_reprs(self, primitives):
        semaphore = primitives.Semaphore(1)
        assert repr(semaphore).endswith("[unlocked, value:1]>")
        await semaphore.acquire()
        assert repr(semaphore).endswith("[locked]>")

    @pytest.mark.parametrize("victim", range(4))
    @pytest.mark.parametrize("releases", range(4))
    async def test_nothing_is_lost_where_one_is_cancelled(self, primitives, victim, releases):
        semaphore = primitives.Semaphore(0)
        tasks = await started(*[semaphore.acquire() for _ in range(4)])
        for _ in range(releases):
            semaphore.release()
        tasks[victim].cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert sum(task.done() and not task.cancelled() for task in tasks) == min(releases, 3)
        for _ in range(4 - releases):
            semaphore.release()
        assert sorted(map(str, await outcomes(tasks))) == ["True"] * 3 + ["cancelled"]
        assert semaphore._value == 1


class TestCoroutines:
    """What the methods return is a coroutine in all but its type."""

    def methods(self, primitives):
        return [
            primitives.Lock().acquire,
            primitives.Lock().__aenter__,
            primitives.Event().wait,
            primitives.Semaphore().acquire,
            primitives.Queue().get,
            primitives.Queue().join,
        ]

    def test_what_inspect_says(self, primitives):
        for method in self.methods(primitives):
            assert inspect.iscoroutinefunction(method)
            assert inspect.ismethod(method)
            assert str(inspect.signature(method)) == "()"
            coroutine = method()
            assert asyncio.iscoroutine(coroutine)
            assert inspect.isawaitable(coroutine)
            assert coroutine.__qualname__ == method.__qualname__
            coroutine.close()

    def test_a_forgotten_one_warns(self, primitives):
        for method in self.methods(primitives):
            with pytest.warns(RuntimeWarning, match=f"'{method.__qualname__}' was never awaited"):
                method()
                gc.collect()

    async def test_awaited_twice(self, primitives):
        coroutine = primitives.Lock().acquire()
        await coroutine
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coroutine

    async def test_arguments_too_many(self, primitives):
        for method in self.methods(primitives):
            with pytest.raises(TypeError, match="positional argument"):
                method(1)

    async def test_awaited_by_python_code(self, primitives):
        lock = primitives.Lock()

        class Acquires:
            def __await__(self):
                taken = yield from lock.acquire().__await__()
                return taken, (yield from lock.acquire().__await__())

        async def acquire_twice():
            return await Acquires()

        [first] = await started(acquire_twice())
        lock.release()
        assert await first == (True, True)
        [second] = await started(acquire_twice())
        second.cancel("why")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await second
        coroutine = lock.acquire()
        assert not isinstance(coroutine, collections.abc.Iterable)
        steps = coroutine.__await__()
        assert iter(steps) is steps
        steps.close()
        steps = lock.acquire().__await__()
        with pytest.raises(KeyError):
            steps.throw(KeyError())
        lock.release()
        with pytest.raises(StopIteration) as stop:
            lock.acquire().__await__().send(None)
        assert stop.value.value is True
