"""Condition and Barrier: notification, cancellation at every point, on what they stand."""

import asyncio
import sys

import penstock
import pytest


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def started(*coroutines):
    """Tasks that have come as far as they can."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await turns()
    return tasks


async def outcomes(tasks):
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(one) if isinstance(one, BaseException) else one for one in found]


class TestCondition:
    async def test_what_it_stands_on(self, primitives):
        condition = primitives.Condition()
        assert type(condition._lock) is primitives.Lock
        lock = primitives.Lock()
        assert primitives.Condition(lock)._lock is lock

    async def test_notified_in_their_order(self, primitives):
        condition = primitives.Condition()
        order = []

        async def wait(who):
            async with condition as bound:
                assert bound is None
                assert await condition.wait() is True
                assert condition.locked()
                order.append(who)

        tasks = await started(*[wait(who) for who in range(5)])
        for expected in ([0], [0, 1, 2], [0, 1, 2, 3, 4]):
            async with condition:
                condition.notify(len(expected) - len(order))
                assert order != expected  # not while we have the lock
            await turns(10)
            assert order == expected
        await asyncio.gather(*tasks)
        assert not condition.locked()

    async def test_notify_all_where_some_are_cancelled(self, primitives):
        condition = primitives.Condition()

        async def wait():
            async with condition:
                return await condition.wait()

        tasks = await started(*[wait() for _ in range(4)])
        tasks[1].cancel()
        async with condition:
            condition.notify_all()
        assert await outcomes(tasks) == [True, asyncio.CancelledError, True, True]
        assert not condition.locked()
        assert not condition._waiters

    async def test_wait_for(self, primitives):
        condition = primitives.Condition()
        state = []

        async def wait():
            async with condition:
                return await condition.wait_for(lambda: len(state) > 1 and "enough")

        [task] = await started(wait())
        for _ in range(2):
            assert not task.done()
            async with condition:
                state.append(None)
                condition.notify()
            await turns()
        assert await task == "enough"

    async def test_without_the_lock(self, primitives):
        condition = primitives.Condition()
        with pytest.raises(RuntimeError, match="^cannot wait on un-acquired lock$"):
            await condition.wait()
        for notify in (condition.notify, condition.notify_all):
            with pytest.raises(RuntimeError, match="^cannot notify on un-acquired lock$"):
                notify()
        with pytest.raises(RuntimeError, match=r"^Lock is not acquired\.$"):
            condition.release()

    @pytest.mark.parametrize("moment", ["waiting", "notified", "acquiring"])
    async def test_cancelled(self, primitives, moment):
        condition = primitives.Condition()

        async def wait():
            async with condition:
                try:
                    return await condition.wait()
                finally:
                    assert condition.locked()

        tasks = await started(wait(), wait())
        await condition.acquire()
        if moment != "waiting":
            condition.notify(1)
        if moment == "acquiring":
            await turns()
        tasks[0].cancel()
        await turns()
        assert not tasks[0].done()  # it has to have the lock first
        condition.release()
        await turns(10)
        assert tasks[0].cancelled()
        # From 3.13 on a notification that it may have had goes to the next one.
        assert tasks[1].done() is (sys.version_info >= (3, 13))
        if not tasks[1].done():
            async with condition:
                condition.notify()
        assert await tasks[1] is True
        assert not condition.locked()

    async def test_timeout(self, primitives):
        condition = primitives.Condition()
        async with condition:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await condition.wait()
            assert condition.locked()
        assert not condition._waiters

    async def test_two_on_one_lock(self, primitives):
        lock = primitives.Lock()
        full, empty = primitives.Condition(lock), primitives.Condition(lock)
        items, taken = [], []

        async def put():
            for item in range(10):
                async with empty:
                    await empty.wait_for(lambda: not items)
                    items.append(item)
                    full.notify()

        async def take():
            while len(taken) < 10:
                async with full:
                    await full.wait_for(lambda: items)
                    taken.append(items.pop())
                    empty.notify()

        await asyncio.gather(put(), take())
        assert taken == list(range(10))

    async def test_reprs(self, primitives):
        condition = primitives.Condition()
        assert repr(condition).endswith("[unlocked]>")

        async def wait():
            async with condition:
                await condition.wait()

        [task] = await started(wait())
        assert repr(condition).endswith("[unlocked, waiters:1]>")
        async with condition:
            assert repr(condition).endswith("[locked, waiters:1]>")
            condition.notify()
        await task

    async def test_a_subclass_waits_in_its_own_way(self, primitives):
        calls = []

        class Telling(primitives.Condition):
            async def wait(self):
                calls.append("wait")
                return await super().wait()

            def notify(self, n=1):
                calls.append(n)
                super().notify(n)

        condition = Telling()
        ready = []

        async def wait():
            async with condition:
                await condition.wait_for(lambda: ready)

        [task] = await started(wait())
        async with condition:
            ready.append(True)
            condition.notify_all()
        await task
        assert calls == ["wait", 1]


class TestBarrier:
    async def test_what_it_stands_on(self, primitives):
        assert type(primitives.Barrier(1)._cond) is primitives.Condition

    async def test_all_go_on_together(self, primitives):
        barrier = primitives.Barrier(3)
        inside = []

        async def use(who):
            async with barrier as index:
                inside.append(who)
                return index

        tasks = await started(use(0), use(1))
        assert not inside
        assert (barrier.n_waiting, barrier.parties, barrier.broken) == (2, 3, False)
        assert repr(barrier).endswith("[filling, waiters:2/3]>")
        assert await use(2) == 2
        assert await asyncio.gather(*tasks) == [0, 1]
        assert sorted(inside) == [0, 1, 2]
        assert barrier.n_waiting == 0

    async def test_round_after_round(self, primitives):
        barrier = primitives.Barrier(2)
        rounds = []

        async def use(who):
            for number in range(5):
                await barrier.wait()
                rounds.append(number)

        await asyncio.gather(use(0), use(1))
        assert rounds == sorted(rounds)

    async def test_a_cancelled_one_does_not_count(self, primitives):
        barrier = primitives.Barrier(2)
        [first] = await started(barrier.wait())
        first.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await first
        assert barrier.n_waiting == 0
        tasks = await started(barrier.wait(), barrier.wait())
        assert sorted(await outcomes(tasks)) == [0, 1]

    @pytest.mark.parametrize("how", ["abort", "reset"])
    async def test_broken(self, primitives, how):
        barrier = primitives.Barrier(3)
        tasks = await started(barrier.wait(), barrier.wait())
        await getattr(barrier, how)()
        assert await outcomes(tasks) == [penstock.BrokenBarrierError] * 2
        assert barrier.broken is (how == "abort")
        if how == "abort":
            with pytest.raises(asyncio.BrokenBarrierError, match="^Barrier aborted$"):
                await barrier.wait()
            await barrier.reset()
        tasks = await started(*[barrier.wait() for _ in range(3)])
        assert sorted(await outcomes(tasks)) == [0, 1, 2]

    def test_no_parties(self, primitives):
        with pytest.raises(ValueError, match="^parties must be (> 0|>= 1)$"):
            primitives.Barrier(0)

    def test_bound_to_the_first_loop_where_somebody_waited(self, primitives, new_loop):
        barrier = primitives.Barrier(2)

        async def wait():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await barrier.wait()

        async def wait_elsewhere():
            with pytest.raises(RuntimeError, match="is bound to a different event loop"):
                await barrier.wait()

        for use in (wait, wait_elsewhere):
            loop = new_loop()
            try:
                loop.run_until_complete(use())
            finally:
                loop.close()
