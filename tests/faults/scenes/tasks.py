"""Tasks, and what they wait for."""

import asyncio
import contextlib
import contextvars
import sys

import penstock

from .scene import returns, scene, turns, waits


@scene
async def a_task(short):
    loop = asyncio.get_running_loop()
    with short:
        short.expect(await loop.create_task(returns(1)) == 1)


@scene
async def tasks(short):
    loop = asyncio.get_running_loop()
    with short:
        first = loop.create_task(returns(1), name="first")
        second = loop.create_task(returns(2), context=contextvars.copy_context())
        third = asyncio.create_task(returns(3))
        fourth = asyncio.ensure_future(returns(4))
        repr(first)
        first.get_name(), second.get_name(), third.get_coro(), third.get_context()
        third.set_name(17)
        for number, task in enumerate((first, second, third, fourth), 1):
            short.expect(await task == number)


@scene
async def a_gathering(short):
    loop = asyncio.get_running_loop()
    # So many that neither the ready queue nor the ring has room for them.
    future, futures = loop.create_future(), [loop.create_future() for _ in range(600)]
    with short:
        all_of_them = penstock.gather(*futures)
        few = penstock.gather(returns(1), future, future, returns(2))
        for each in [future, *futures]:
            each.set_result(3)
        short.expect(await few == [1, 3, 3, 2])
        short.expect(await all_of_them == [3] * 600)


@scene
async def a_gathering_that_is_cancelled(short):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    with short:
        outer = penstock.gather(returns(1), future, future, return_exceptions=True)
        await turns()
        short.expect(outer.cancel("why"))
        try:
            await outer
        except asyncio.CancelledError as error:
            short.expect(error.args == ("why",))


@scene
async def a_task_group(short):
    with short:
        async with penstock.TaskGroup() as group:
            # So many that neither the ready queue nor the ring has room for them.
            tasks = [group.create_task(returns(number)) for number in range(300)]
        short.expect([task.result() for task in tasks] == list(range(300)))


@scene
async def a_task_group_that_fails(short):
    async def fail():
        raise ValueError

    with short:
        try:
            async with penstock.TaskGroup() as group:
                group.create_task(fail())
                group.create_task(asyncio.sleep(9))
        except ExceptionGroup as errors:
            short.expect(errors.subgroup(ValueError) is not None)
            if errors.subgroup(MemoryError) is not None:
                raise MemoryError from errors


@scene
async def a_called_task(short):
    with short:
        task = penstock._core.Task(returns(1), loop=asyncio.get_running_loop(), name=3)
        short.expect(await task == 1)
        future = penstock._core.Future()
        future.set_result(2)
        short.expect(await future == 2)


@scene
async def tasks_that_wait(short):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    with short:
        waiting = [loop.create_task(waits(future)) for _ in range(3)]
        waiting[1] = loop.create_task(asyncio.sleep(5))
        await turns()
        waiting[1].cancel("enough")
        repr(waiting[0])
        waiting[0].get_stack()
        future.set_result(1)
        short.expect(await waiting[0] == 1)
        short.expect(await waiting[2] == 1)
        try:
            await waiting[1]
        except asyncio.CancelledError as said:
            short.expect(said.args == ("enough",) or sys.version_info < (3, 11))
        else:
            short.expect(False)


@scene
async def a_task_that_fails(short):
    async def fail():
        await asyncio.sleep(0)
        raise ValueError

    with short:
        task = asyncio.create_task(fail())
        try:
            await task
        except ValueError:
            task.exception()
        else:
            short.expect(False)


@scene
async def a_task_that_yields_nonsense(short):
    class Nonsense:
        def __await__(self):
            yield 17

    async def yield_nonsense():
        await Nonsense()

    with short:
        try:
            await asyncio.create_task(yield_nonsense())
        except RuntimeError:
            pass
        else:
            short.expect(False)


@scene
async def a_cancelled_task(short):
    task = asyncio.create_task(asyncio.sleep(10))
    await turns()
    with short:
        task.cancel("enough")
        try:
            await task
        except asyncio.CancelledError as said:
            if not task.done():
                raise
            short.expect(said.args == ("enough",))


@scene
async def eager_tasks(short):
    if sys.version_info < (3, 12):
        return
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        with short:
            short.expect(await loop.create_task(returns(1)) == 1)
            future = loop.create_future()
            waiting = loop.create_task(waits(future), name="eager")
            future.set_result(2)
            short.expect(await waiting == 2)
    finally:
        loop.set_task_factory(None)


@scene
async def a_stranger_awaited(short):
    class Stranger:
        _asyncio_future_blocking = False

        def __init__(self, loop):
            self.loop = loop
            self.callbacks = []

        def get_loop(self):
            return self.loop

        def add_done_callback(self, callback, *, context=None):
            self.callbacks.append((callback, context))

        def result(self):
            return 5

        def cancel(self, msg=None):
            return False

        def __await__(self):
            self._asyncio_future_blocking = True
            yield self
            return self.result()

    loop = asyncio.get_running_loop()
    stranger = Stranger(loop)
    with short:
        task = loop.create_task(waits(stranger))
        await turns()
        for callback, context in stranger.callbacks:
            loop.call_soon(callback, stranger, context=context)
        short.expect(await task == 5)


@scene
async def sleeps(short):
    loop = asyncio.get_running_loop()
    with short:
        await asyncio.sleep(0)
        short.expect(await asyncio.sleep(0.0001, 7) == 7)
        short.expect(await penstock._core.sleep(0, 8) == 8)
        task = loop.create_task(asyncio.sleep(20))
        await turns()
        repr(task)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
        try:
            async with asyncio.timeout(0.0001):
                await asyncio.sleep(10)
        except TimeoutError:
            pass


@scene
async def all_tasks(short):
    with short:
        task = asyncio.create_task(asyncio.sleep(0))
        short.expect(task in asyncio.all_tasks())
        short.expect(asyncio.current_task() is not None)
        await task
