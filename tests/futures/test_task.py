"""Tasks and futures: the same bodies on asyncio's own and on penstock's."""

import asyncio
import contextvars
import copy
import ctypes
import gc
import sys
import types
import weakref

import pytest

variable = contextvars.ContextVar("variable", default="unset")


async def wait(future):
    return await future


async def value(result, delay=0.001):
    await asyncio.sleep(delay)
    return result


async def fail(text="failed"):
    raise ValueError(text)


@pytest.fixture
def reports(new_loop):
    return []


def collect_reports(reports):
    asyncio.get_running_loop().set_exception_handler(lambda loop, report: reports.append(report))


async def test_what_the_types_say_of_themselves():
    task = asyncio.current_task()
    future = asyncio.get_running_loop().create_future()
    assert isinstance(task, asyncio.Task)
    assert isinstance(task, asyncio.Future)
    assert isinstance(future, asyncio.Future)
    assert not isinstance(future, asyncio.Task)
    assert asyncio.isfuture(task) and asyncio.isfuture(future)
    assert issubclass(type(task), type(future)) or type(future) is asyncio.Future


async def test_unbound_calls_act_on_tasks_and_wake_them():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    tasks = [loop.create_task(wait(future)) for _ in range(3)]
    await asyncio.sleep(0)
    called = []
    asyncio.Future.add_done_callback(future, called.append)
    future.add_done_callback(called.append)
    assert future.remove_done_callback(print) == 0
    asyncio.Future.set_result(future, 7)
    assert [await task for task in tasks] == [7] * 3
    assert called == [future, future]
    assert asyncio.Future.result(future) == 7
    assert asyncio.Task.result(tasks[0]) == 7
    assert asyncio.Task.done(tasks[0])
    assert asyncio.Task.get_name(tasks[0]).startswith("Task-")
    assert asyncio.Task.get_coro(tasks[0]).__name__ == "wait"
    assert asyncio.Task.get_loop(tasks[0]) is loop


async def test_unbound_cancel_reaches_what_the_task_waits_for():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    task = loop.create_task(wait(future))
    await asyncio.sleep(0)
    assert asyncio.Task.cancel(task, "why") is True
    assert asyncio.Task.cancelling(task) == 1
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("why",)
    assert task.cancelled() and future.cancelled()


async def test_cancelled_before_the_first_step_it_never_runs():
    ran = []

    async def body():
        ran.append(1)

    task = asyncio.create_task(body())
    assert task.cancel("early")
    with pytest.raises(asyncio.CancelledError, match="early"):
        await task
    assert ran == []


async def test_cancelled_in_its_last_step():
    async def body():
        asyncio.current_task().cancel()

    task = asyncio.create_task(body())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_uncancel():
    async def stubborn():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            asyncio.current_task().uncancel()
            return "survived"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "survived"
    assert task.cancelling() == 0


async def test_all_tasks_and_current_task():
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    future = loop.create_future()
    tasks = [loop.create_task(wait(future)) for _ in range(3)]
    assert asyncio.all_tasks() == {me, *tasks}
    seen = []
    loop.call_soon(lambda: seen.append(asyncio.current_task()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == [None]
    assert asyncio.current_task() is me
    future.set_result(None)
    await asyncio.wait(tasks)
    assert asyncio.all_tasks() == {me}


async def test_the_standard_library_takes_them_as_its_own():
    assert await asyncio.gather(value(1), value(2), asyncio.create_task(value(3))) == [1, 2, 3]
    failed, fine = await asyncio.gather(fail(), value(1), return_exceptions=True)
    assert isinstance(failed, ValueError) and fine == 1
    done, pending = await asyncio.wait(
        [asyncio.create_task(value(1)), asyncio.create_task(value(2, 10))],
        return_when=asyncio.FIRST_COMPLETED,
    )
    assert len(done) == len(pending) == 1
    pending.pop().cancel()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(value(i)) for i in range(3)]
    assert [task.result() for task in tasks] == [0, 1, 2]
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            slow = group.create_task(value(1, 10))
            group.create_task(fail())
    assert slow.cancelled()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(value(1, 10), 0.01)
    assert await asyncio.shield(value(5)) == 5
    assert sorted([await each for each in asyncio.as_completed([value(1), value(2)])]) == [1, 2]


async def test_futures_of_every_make_wait_for_one_another():
    loop = asyncio.get_running_loop()
    base_future, base_task = asyncio.futures._CFuture, asyncio.tasks._CTask
    future = base_future(loop=loop)
    loop.call_soon(future.set_result, 9)
    assert await future == 9
    assert await base_task(value(4), loop=loop) == 4
    mine = loop.create_future()
    stock = base_task(wait(mine), loop=loop)
    await asyncio.sleep(0)
    mine.set_result(6)
    assert await stock == 6
    pure = asyncio.futures._PyFuture(loop=loop)
    loop.call_soon(pure.set_result, 8)
    assert await pure == 8
    pure = asyncio.futures._PyFuture(loop=loop)
    waiting = asyncio.create_task(wait(pure))
    await asyncio.sleep(0)
    assert waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pure.cancelled()


async def test_subclasses_of_either_work():
    loop = asyncio.get_running_loop()

    class MyFuture(type(loop.create_future())):
        def __init__(self, *, loop):
            super().__init__(loop=loop)
            self.mark = 1

    class MyTask(type(asyncio.current_task())):
        cancels = 0

        def cancel(self, msg=None):
            self.cancels += 1
            return super().cancel(msg)

    future = MyFuture(loop=loop)
    task = MyTask(wait(future), loop=loop, name="mine")
    assert task in asyncio.all_tasks() and task.get_name() == "mine"
    outer = asyncio.create_task(wait(task))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    future.set_result("x")
    assert await outer == "x" and future.mark == 1
    task = MyTask(wait(MyFuture(loop=loop)), loop=loop)
    outer = asyncio.create_task(wait(task))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert task.cancels == 1


@pytest.mark.parametrize("yielded", [1, "text"])
async def test_a_bad_yield_is_a_runtime_error(yielded):
    @types.coroutine
    def bad():
        yield yielded

    async def body():
        await bad()

    with pytest.raises(RuntimeError, match=f"Task got bad yield: {yielded!r}"):
        await asyncio.create_task(body())


async def test_what_a_task_must_not_wait_for():
    loop = asyncio.get_running_loop()
    holder = []
    task = loop.create_task(wait_for_first(holder))
    holder.append(task)
    with pytest.raises(RuntimeError, match="Task cannot await on itself"):
        await task
    other = asyncio.SelectorEventLoop()
    foreign = other.create_future()
    with pytest.raises(RuntimeError, match="attached to a different loop"):
        await loop.create_task(wait(foreign))
    other.close()


async def wait_for_first(holder):
    return await holder[0]


async def test_not_a_coroutine():
    for wrong in (1, None, value):
        with pytest.raises(TypeError, match="a coroutine was expected, got"):
            asyncio.get_running_loop().create_task(wrong)


async def test_context_of_a_task():
    async def change():
        variable.set("inner")
        await asyncio.sleep(0)
        return variable.get()

    assert await asyncio.create_task(change()) == "inner"
    assert variable.get() == "unset"
    context = contextvars.copy_context()
    assert await asyncio.get_running_loop().create_task(change(), context=context) == "inner"
    assert context[variable] == "inner"


async def test_a_token_lives_across_a_suspension():
    async def body():
        token = variable.set("one")
        await asyncio.sleep(0)
        assert variable.get() == "one"
        inner = variable.set("two")
        await asyncio.sleep(0)
        variable.reset(inner)
        assert variable.get() == "one"
        await asyncio.sleep(0)
        variable.reset(token)
        return variable.get()

    results = await asyncio.gather(*[body() for _ in range(10)])
    assert results == ["unset"] * 10


async def test_context_inside_and_outside_of_a_task():
    loop = asyncio.get_running_loop()
    gate = loop.create_future()

    async def body():
        variable.set("mine")
        await gate
        return variable.get()

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    if sys.version_info >= (3, 12):
        context = task.get_context()
        assert context[variable] == "mine"
        context.run(variable.set, "changed")
    gate.set_result(None)
    assert await task == ("changed" if sys.version_info >= (3, 12) else "mine")
    seen = []
    variable.set("caller")
    loop.call_soon(lambda: seen.append(variable.get()))
    variable.set("later")
    await asyncio.sleep(0)
    assert seen == ["caller"]
    variable.set("unset")


async def test_attributes_and_weak_references():
    task = asyncio.create_task(value(1))
    task.attribute = [task]
    reference = weakref.ref(task)
    assert reference() is task
    await task
    del task
    await asyncio.sleep(0)
    gc.collect()
    assert reference() is None


async def test_exceptions_nobody_asks_for_are_reported(reports):
    collect_reports(reports)
    task = asyncio.create_task(fail("of a task"))
    await asyncio.wait([task])
    del task
    gc.collect()
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("of a future"))
    del future
    gc.collect()
    assert [report["message"] for report in reports] == [
        "Task exception was never retrieved",
        "Future exception was never retrieved",
    ]
    assert [str(report["exception"]) for report in reports] == ["of a task", "of a future"]


async def test_a_lost_task_is_reported(reports):
    collect_reports(reports)

    async def lost():
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(lost())
    await asyncio.sleep(0)
    reference = weakref.ref(task)
    del task
    gc.collect()
    assert [report["message"] for report in reports] == ["Task was destroyed but it is pending!"]
    reports.clear()  # from 3.15 on the task lives, for references too, as long as its report
    gc.collect()
    assert reference() is None


@pytest.mark.task_since(3, 15)
def test_a_context_must_be_one(loop):
    coro = value(1)
    task = loop.create_task(coro)
    for make in (loop.create_task, lambda *args, **kw: type(task)(*args, loop=loop, **kw)):
        with pytest.raises(TypeError, match=r"^a contextvars\.Context was expected, got int$"):
            make(coro, context=12)
    assert loop.run_until_complete(task) == 1


@pytest.mark.skipif(sys.version_info < (3, 15), reason="CPython 3.15 has forbidden it")
def test_nothing_is_initialised_twice(loop):
    coro = value(1)
    task, future = loop.create_task(coro), loop.create_future()
    with pytest.raises(RuntimeError, match="Task object is already initialized"):
        task.__init__(coro, loop=loop)
    with pytest.raises(RuntimeError, match="Future object is already initialized"):
        future.__init__(loop=loop)
    assert loop.run_until_complete(task) == 1


async def test_cycles_are_collected():
    class Holder:
        pass

    future, holder = asyncio.get_running_loop().create_future(), Holder()
    holder.future = future
    future.set_result(holder)
    future_gone = weakref.ref(holder)

    async def body():
        task = asyncio.current_task()
        task.holder = Holder()
        task.holder.task = task

    task = asyncio.create_task(body())
    await task
    task_gone = weakref.ref(task)
    del future, holder, task
    await asyncio.sleep(0)
    gc.collect()
    assert future_gone() is None and task_gone() is None


async def test_each_result_starts_the_traceback_anew():
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("again"))
    depths = []
    for _ in range(3):
        try:
            future.result()
        except ValueError as error:
            frames, traceback = 0, error.__traceback__
            while traceback is not None:
                frames, traceback = frames + 1, traceback.tb_next
            depths.append(frames)
    if sys.version_info >= (3, 12):
        assert len(set(depths)) == 1


async def test_names():
    loop = asyncio.get_running_loop()
    task = loop.create_task(value(1), name="chosen")
    assert task.get_name() == "chosen" and "name='chosen'" in repr(task)
    task.set_name(12)
    assert task.get_name() == "12"
    other = loop.create_task(value(1))
    assert other.get_name().startswith("Task-")
    await asyncio.gather(task, other)
    assert "finished" in repr(task) and "result=1" in repr(task)


async def test_stacks():
    async def inner():
        await asyncio.sleep(10)

    async def outer():
        await inner()

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer"]
    assert asyncio.current_task().get_stack()
    task.cancel()


async def test_copies_of_a_future_are_refused_as_ever():
    with pytest.raises(TypeError):
        copy.copy(asyncio.get_running_loop().create_future())


@pytest.mark.task_since(3, 12)
async def test_eager_start():
    loop = asyncio.get_running_loop()
    task_type = type(asyncio.current_task())
    me = asyncio.current_task()
    steps = []

    async def body(suspends):
        steps.append(asyncio.current_task())
        variable.set("eager")
        if suspends:
            await asyncio.sleep(0)
        return variable.get()

    def eager(coro, **options):
        return task_type(coro, loop=loop, eager_start=True, **options)

    done = eager(body(False))
    assert done.done() and done.result() == "eager" and steps == [done]
    assert asyncio.current_task() is me and variable.get() == "unset"
    waiting = eager(body(True))
    assert not waiting.done() and steps[-1] is waiting and waiting in asyncio.all_tasks()
    assert await waiting == "eager"
    failed = eager(fail())
    with pytest.raises(ValueError):
        failed.result()


@pytest.mark.asyncio_since(3, 12)
async def test_the_context_of_a_task_asked_for_by_one_that_it_has_started_eagerly():
    me = asyncio.current_task()
    seen = []

    async def look():
        variable.set("inner")
        seen.append(me.get_context())

    variable.set("mine")
    await type(me)(look(), loop=asyncio.get_running_loop(), eager_start=True)
    assert seen[0][variable] == "mine" and variable.get() == "mine"
    variable.set("later")
    assert seen[0][variable] == "later"
    await asyncio.sleep(0)
    assert me.get_context() is seen[0] and seen[0][variable] == variable.get() == "later"
    variable.set("unset")


def test_a_task_factory(loop):
    made = []

    def factory(loop, coro, **options):
        made.append(options)
        return type_of_task(coro, loop=loop, **options)

    async def body():
        return await asyncio.create_task(value(3), name="named")

    type_of_task = asyncio.Task
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    assert loop.run_until_complete(body()) == 3
    assert len(made) == 2
    with pytest.raises(TypeError, match="task factory must be a callable or None"):
        loop.set_task_factory(1)
    loop.set_task_factory(None)
    assert loop.run_until_complete(value(4)) == 4


@pytest.mark.memory
def test_a_million_tasks_leave_nothing(new_loop):
    if new_loop is not sys.modules["penstock"].new_event_loop:
        pytest.skip("a matter of our free lists")

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    async def nothing():
        pass

    async def main(rounds):
        for _ in range(rounds):
            tasks = [asyncio.create_task(nothing()) for _ in range(1000)]
            for task in tasks:
                await task

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(50))
        before = resident()
        runner.run(main(1000))
        assert resident() - before < 2_000_000


async def test_the_default_name_of_a_dead_task_is_kept_by_whoever_has_it():
    loop = asyncio.get_running_loop()
    names, hashes = [], []
    for _ in range(50):
        task = loop.create_task(value(1))
        names.append(task.get_name())
        hashes.append(hash(names[-1]))
        await task
        del task
    unseen = [loop.create_task(value(1)) for _ in range(50)]
    await asyncio.gather(*unseen)
    del unseen
    later = [loop.create_task(value(1)) for _ in range(50)]
    await asyncio.gather(*later)
    assert [hash(name) for name in names] == hashes
    everything = names + [task.get_name() for task in later]
    assert len(set(everything)) == 100
    assert all(name.removeprefix("Task-").isdigit() for name in everything)
    assert all(hash(name) == hash("".join(name)) for name in everything)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="PyUnicode_AsUnicode() went in 3.12")
async def test_the_default_name_is_the_same_to_c_as_to_python():
    as_unicode = ctypes.pythonapi.PyUnicode_AsUnicode
    as_unicode.argtypes, as_unicode.restype = [ctypes.py_object], ctypes.c_wchar_p
    for _ in range(10):
        task = asyncio.get_running_loop().create_task(value(1))
        assert as_unicode(task.get_name()) == task.get_name()
        await task
        del task
