"""Eager start, and task factories whose tasks are not the loop's own.

Source: CPython 3.15, Doc/library/asyncio-task.rst, "Eager Task Factory", and
Doc/library/asyncio-eventloop.rst, loop.create_task() and loop.set_task_factory().
"""

import asyncio
import contextvars
import sys
from asyncio import tasks

import penstock
import pytest

variable = contextvars.ContextVar("variable", default="unset")


class Subclass(penstock.Task):
    pass


class SubclassOfPure(tasks._PyTask):
    pass


FACTORIES = {
    "stock": asyncio.Task,
    "pure Python": tasks._PyTask,
    "native": penstock.Task,
    "subclass": Subclass,
    "subclass of pure Python": SubclassOfPure,
}


def is_apart(task_type):
    """Whether asyncio's own answers leave these out: since 3.14 pure Python keeps its own."""
    return sys.version_info >= (3, 14) and issubclass(task_type, tasks._PyTask)


def current(task_type):
    """The current task, as one of this type is told."""
    return (tasks._py_current_task if is_apart(task_type) else asyncio.current_task)()


def everyone(task_type):
    """All tasks, those of this type among them."""
    others = tasks._py_all_tasks() if is_apart(task_type) else set()
    return asyncio.all_tasks() | others


@pytest.fixture(params=FACTORIES)
def task_type(request, new_loop):
    if new_loop is not penstock.new_event_loop and issubclass(FACTORIES[request.param], Subclass):
        pytest.skip("a native Task on a foreign loop is a matter of its own")
    return FACTORIES[request.param]


def factory_of(task_type, **fixed):
    def factory(loop, coro, **options):
        return task_type(coro, loop=loop, **options, **fixed)

    return factory


async def value(result):
    await asyncio.sleep(0)
    return result


async def fail():
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def forever():
    await asyncio.get_running_loop().create_future()


# ---- factories ---------------------------------------------------------------------------------


def use_in_turns(loop, *task_types):
    """Every other task is of another type: foreign ones beside native ones."""
    made = []

    def factory(loop, coro, **options):
        made.append(factory_of(task_types[len(made) % len(task_types)])(loop, coro, **options))
        return made[-1]

    loop.set_task_factory(factory)
    return made


async def test_its_tasks_work_beside_others(task_type):
    loop = asyncio.get_running_loop()
    made = use_in_turns(loop, task_type, type(asyncio.current_task()))
    assert await asyncio.gather(*(value(i) for i in range(6))) == list(range(6))
    assert [type(task) for task in made[:2]] == [task_type, type(asyncio.current_task())]

    async with asyncio.TaskGroup() as group:
        inner = [group.create_task(value(i)) for i in range(4)]
    assert [task.result() for task in inner] == list(range(4))

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            for coroutine in (forever(), fail(), forever(), forever()):
                group.create_task(coroutine)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)

    done, pending = await asyncio.wait(
        [loop.create_task(forever()), loop.create_task(value(1))],
        return_when=asyncio.FIRST_COMPLETED,
    )
    assert [task.result() for task in done] == [1]
    for task in pending:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(forever(), 0.001)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await loop.create_task(forever())
    assert await asyncio.shield(value(3)) == 3


async def test_they_wait_for_one_another(task_type):
    loop = asyncio.get_running_loop()
    use_in_turns(loop, task_type, type(asyncio.current_task()))

    async def chain(depth):
        return 0 if depth == 0 else 1 + await loop.create_task(chain(depth - 1))

    assert await loop.create_task(chain(9)) == 9

    async def endless(depth):
        await (forever() if depth == 0 else loop.create_task(endless(depth - 1)))

    outer = loop.create_task(endless(5))
    for _ in range(8):
        await asyncio.sleep(0)
    everybody = everyone(task_type) - {asyncio.current_task()}
    assert len(everybody) == 6
    outer.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert all(task.cancelled() for task in everybody)


async def test_current_task_is_theirs_while_they_run(task_type):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory_of(task_type))
    seen = []

    async def look():
        seen.append(current(task_type))
        await asyncio.sleep(0)
        seen.append(current(task_type))

    me = asyncio.current_task()
    both = [loop.create_task(look()), loop.create_task(look())]
    assert asyncio.current_task() is me
    await asyncio.gather(*both)
    assert seen == both * 2
    assert asyncio.current_task() is me


async def test_names_and_contexts_reach_them(task_type):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory_of(task_type))

    async def read():
        return variable.get(), current(task_type).get_name()

    context = contextvars.copy_context()
    context.run(variable.set, "in the context")
    task = loop.create_task(read(), name="named", context=context)
    assert await task == ("in the context", "named")
    assert await asyncio.create_task(read(), name="also") == ("unset", "also")


@pytest.mark.skipif(
    (3, 13) <= sys.version_info < (3, 13, 3), reason="asyncio named what has no name there"
)
async def test_a_factory_may_return_what_is_no_task():
    loop = asyncio.get_running_loop()

    def factory(loop, coro, **options):
        coro.close()
        future = loop.create_future()
        future.set_result("no task")
        return future

    loop.set_task_factory(factory)
    made = loop.create_task(value(1))
    loop.set_task_factory(None)
    assert await made == "no task"


async def test_a_failing_factory():
    loop = asyncio.get_running_loop()

    def factory(loop, coro, **options):
        coro.close()
        raise ZeroDivisionError

    loop.set_task_factory(factory)
    with pytest.raises(ZeroDivisionError):
        loop.create_task(value(1))
    loop.set_task_factory(None)
    assert await loop.create_task(value(2)) == 2


# ---- eager start -------------------------------------------------------------------------------


@pytest.mark.asyncio_since(3, 14)
class TestEagerStart:
    async def test_it_runs_until_it_waits(self):
        loop = asyncio.get_running_loop()
        steps = []

        async def body():
            steps.append("started")
            await asyncio.sleep(0)
            steps.append("ended")
            return "result"

        task = loop.create_task(body(), eager_start=True)
        assert steps == ["started"]
        assert not task.done()
        assert task in asyncio.all_tasks()
        assert await task == "result"
        assert steps == ["started", "ended"]

    async def test_what_never_waits_is_done_at_once(self):
        async def body():
            return asyncio.current_task()

        task = asyncio.get_running_loop().create_task(body(), eager_start=True, name="eager")
        assert task.done()
        assert task.result() is task
        assert task.get_name() == "eager"
        assert task not in asyncio.all_tasks()

    async def test_what_fails_fails_at_once(self):
        async def body():
            raise ZeroDivisionError

        task = asyncio.get_running_loop().create_task(body(), eager_start=True)
        assert isinstance(task.exception(), ZeroDivisionError)

    @pytest.mark.parametrize("option", [{}, {"eager_start": False}, {"eager_start": None}])
    async def test_otherwise_it_starts_in_the_next_turn(self, option):
        steps = []

        async def body():
            steps.append("started")

        task = asyncio.get_running_loop().create_task(body(), **option)
        assert steps == []
        await task
        assert steps == ["started"]

    def test_before_the_loop_runs_it_waits(self, loop):
        steps = []

        async def body():
            steps.append("started")

        async def main():
            task = loop.create_task(body(), eager_start=True)
            assert steps == ["started"] * 2
            await task

        early = loop.create_task(body())
        loop.run_until_complete(early)
        assert steps == ["started"]
        loop.run_until_complete(main())

    async def test_the_caller_is_current_again_and_its_variables_are_untouched(self):
        me = asyncio.current_task()

        async def body():
            variable.set("inner")
            assert asyncio.current_task() is not me
            await asyncio.sleep(0)
            return variable.get()

        task = asyncio.get_running_loop().create_task(body(), eager_start=True)
        assert asyncio.current_task() is me
        assert variable.get() == "unset"
        assert await task == "inner"

    async def test_its_context_may_be_given(self):
        context = contextvars.copy_context()

        async def body():
            variable.set("changed")

        asyncio.get_running_loop().create_task(body(), eager_start=True, context=context)
        assert context[variable] == "changed"
        assert variable.get() == "unset"

    async def test_a_nested_eager_task(self):
        loop = asyncio.get_running_loop()
        order = []

        async def inner():
            order.append("inner")
            await asyncio.sleep(0)
            order.append("inner again")

        async def outer():
            order.append("outer")
            task = loop.create_task(inner(), eager_start=True)
            assert asyncio.current_task() is not task
            order.append("outer again")
            await task

        await loop.create_task(outer(), eager_start=True)
        assert order == ["outer", "inner", "outer again", "inner again"]

    async def test_cancelled_after_its_first_step(self):
        task = asyncio.get_running_loop().create_task(forever(), eager_start=True)
        task.cancel("message")
        with pytest.raises(asyncio.CancelledError, match="message"):
            await task

    async def test_the_factory_is_told(self):
        loop = asyncio.get_running_loop()
        told = []

        def factory(loop, coro, **options):
            told.append(options.pop("eager_start", "nothing"))
            return asyncio.Task(coro, loop=loop, **options)

        loop.set_task_factory(factory)
        await loop.create_task(value(1), eager_start=True)
        await loop.create_task(value(1))
        assert told == [True, "nothing"]


def test_keyboard_interrupt_in_an_eager_step_ends_the_run(loop):
    async def interrupt():
        raise KeyboardInterrupt

    if sys.version_info < (3, 12):
        pytest.skip("asyncio.Task starts eagerly since 3.12")

    async def main():
        task_type = type(asyncio.current_task())
        with pytest.raises(KeyboardInterrupt):
            task_type(interrupt(), loop=loop, eager_start=True)
        return "went on"

    assert loop.run_until_complete(main()) == "went on"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in CPython 3.12")
class TestEagerTaskFactory:
    @pytest.fixture(params=["asyncio's", "for penstock.Task", "for pure Python"])
    def factory(self, request, new_loop):
        if request.param == "asyncio's":
            return asyncio.eager_task_factory
        if request.param == "for pure Python":
            return asyncio.create_eager_task_factory(tasks._PyTask)
        if new_loop is not penstock.new_event_loop:
            pytest.skip("a native Task on a foreign loop is a matter of its own")
        return asyncio.create_eager_task_factory(penstock.Task)

    async def test_its_tasks_start_at_once(self, factory):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        steps = []

        async def body(result):
            steps.append(result)
            return result

        done = loop.create_task(body(1))
        assert done.done()
        assert await asyncio.gather(body(2), value(3), body(4)) == [2, 3, 4]
        assert steps == [1, 2, 4]

    async def test_current_task_is_right_on_both_sides_of_the_start(self, factory):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        me = asyncio.current_task()
        task = loop.create_task(value(0))
        await task
        task_type = type(task)

        async def inner():
            return current(task_type)

        async def outer():
            before = current(task_type)
            task = loop.create_task(inner())
            assert task.result() is task
            assert current(task_type) is before
            await asyncio.sleep(0)
            assert current(task_type) is before
            return before

        task = loop.create_task(outer())
        assert asyncio.current_task() is me
        assert await task is task
        assert asyncio.current_task() is me

    async def test_groups_and_timeouts(self, factory):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        async with asyncio.TaskGroup() as group:
            inner = [group.create_task(value(i)) for i in range(3)]
        assert [task.result() for task in inner] == [0, 1, 2]
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(forever())
                group.create_task(fail())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(), 0.001)

    async def test_contexts(self, factory):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)

        async def body():
            variable.set("inner")
            await asyncio.sleep(0)
            return variable.get()

        task = loop.create_task(body())
        assert variable.get() == "unset"
        assert await task == "inner"
