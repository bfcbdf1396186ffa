"""TaskGroup: turns, errors, cancellation, subclasses and attributes; asyncio is the oracle."""

import asyncio
import contextvars
import copy
import gc
import inspect
import pickle
import re
import sys
import weakref

import penstock
import pytest

STOCK = asyncio.taskgroups.TaskGroup
NAMES = [name for name in vars(STOCK()) if name != "_cancel_on_enter"]

needs_native_task = pytest.mark.skipif(
    not penstock._core.native_task, reason=f"no native Task: {penstock._core.why_stock_task}"
)


@pytest.fixture(params=["stock", "native"])
def task_group(request):
    return STOCK if request.param == "stock" else penstock.TaskGroup


async def value(answer=None, turns=0):
    for _ in range(turns):
        await asyncio.sleep(0)
    return answer


async def fail(error, turns=0):
    await value(None, turns)
    raise error


async def played(task_group, play):
    """What `play` tells, and in which turn."""
    told = []
    turn = 0

    def tell(what):
        task = asyncio.current_task()
        told.append((turn, what, task.cancelling() if task is not None else None))

    async def main():
        try:
            await play(task_group, tell)
        except BaseExceptionGroup as group:
            tell(("raised", repr(group)))
        except (Exception, asyncio.CancelledError) as error:
            tell(("raised", repr(error)))

    task = asyncio.get_running_loop().create_task(main())
    while not task.done():
        await asyncio.sleep(0)
        turn += 1
    return told


# ---- as asyncio's, turn by turn ------------------------------------------------------------------


async def all_end_well(task_group, tell):
    async with task_group() as group:
        tasks = [group.create_task(value(i, i % 4), name=f"n{i}") for i in range(20)]
        tell([task.get_name() for task in tasks])
        tell(repr(group))
    tell(repr(group))
    tell([task.result() for task in tasks])


async def nothing_is_started(task_group, tell):
    async with task_group() as group:
        tell(repr(group))
    tell(repr(group))


async def all_are_done_before_the_end(task_group, tell):
    async with task_group() as group:
        group.create_task(value())
        await value(None, 4)
        tell(len(group._tasks))
        group.create_task(value(None, 2))
        await value(None, 1)
        tell(len(group._tasks))
    tell(len(group._tasks))


async def one_fails(task_group, tell):
    async with task_group() as group:
        group.create_task(fail(ValueError(1), 2))
        group.create_task(value(None, 9)).add_done_callback(lambda task: tell(task.cancelled()))
        try:
            await value(None, 9)
        finally:
            tell(repr(group))


async def two_fail_in_one_turn(task_group, tell):
    async with task_group() as group:
        group.create_task(fail(ValueError(1), 2))
        group.create_task(fail(KeyError(2), 2))
        group.create_task(value(None, 9))


async def one_fails_as_the_group_waits(task_group, tell):
    async with task_group() as group:
        group.create_task(value(None, 9)).add_done_callback(lambda task: tell(task.cancelled()))
        group.create_task(fail(ValueError(1), 3))


async def one_fails_as_it_is_cancelled(task_group, tell):
    async def clean_up():
        try:
            await value(None, 9)
        finally:
            await fail(OSError("cleaning up"), 2)

    async with task_group() as group:
        group.create_task(clean_up())
        await value(None, 2)
        raise ValueError("body")


async def the_body_fails(task_group, tell):
    async with task_group() as group:
        group.create_task(value(None, 9)).add_done_callback(lambda task: tell(task.cancelled()))
        await value(None, 2)
        raise ValueError("body")


async def a_task_is_cancelled(task_group, tell):
    async with task_group() as group:
        task = group.create_task(value(None, 9))
        other = group.create_task(value("other", 3))
        await value(None, 1)
        tell(task.cancel("alone"))
    tell((task.cancelled(), other.result()))


async def the_parent_is_cancelled(task_group, tell):
    parent = asyncio.current_task()
    async with task_group() as group:
        group.create_task(value(None, 9)).add_done_callback(lambda task: tell(task.cancelled()))
        asyncio.get_running_loop().call_soon(parent.cancel, "outside")
        await value(None, 9)


async def the_parent_is_cancelled_as_it_waits(task_group, tell):
    parent = asyncio.current_task()

    async def stay():
        try:
            await value(None, 9)
        finally:
            await value(None, 2)

    async with task_group() as group:
        group.create_task(stay()).add_done_callback(lambda task: tell(task.cancelled()))
        for _ in range(2):
            asyncio.get_running_loop().call_soon(parent.cancel, "outside")


async def groups_in_groups(task_group, tell):
    async def inner(error):
        async with task_group() as group:
            group.create_task(value(None, 2))
            group.create_task(fail(error, 3))

    async with task_group() as group:
        group.create_task(inner(ValueError(1)))
        group.create_task(inner(KeyError(2)))


async def tasks_of_tasks(task_group, tell):
    async def breed(left):
        tell(left)
        if left:
            group.create_task(breed(left - 1))
            await value(None, 1)

    async with task_group() as group:
        group.create_task(breed(4))
    tell(repr(group))


async def too_late(task_group, tell):
    group = task_group()
    for _ in range(2):
        coroutine = value()
        try:
            group.create_task(coroutine)
        except RuntimeError as error:
            tell(without_names(str(error)))
        coroutine.close()
        async with group:
            pass
        try:
            await group.__aenter__()
        except RuntimeError as error:
            tell(without_names(str(error)))


async def shutting_down(task_group, tell):
    async with task_group() as group:
        group.create_task(fail(ValueError(1)))
        try:
            await value(None, 9)
        finally:
            coroutine = value()
            try:
                group.create_task(coroutine)
            except RuntimeError as error:
                tell(without_names(str(error)))
            coroutine.close()


async def arguments(task_group, tell):
    variable = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 1)

    async def read():
        return variable.get()

    async with task_group() as group:
        tasks = [
            group.create_task(read()),
            group.create_task(read(), context=context),
            group.create_task(read(), name="name", context=None),
            group.create_task(coro=read(), name=17),
        ]
        variable.set(2)
        tasks.append(group.create_task(read()))
        for wrong in ((5,), ()):
            try:
                group.create_task(*wrong)
            except (TypeError, AttributeError) as error:
                tell(type(error))
    tell([task.result() for task in tasks])
    tell([task.get_name() for task in tasks[2:4]])


@pytest.mark.parametrize(
    "play",
    [
        all_end_well,
        nothing_is_started,
        all_are_done_before_the_end,
        one_fails,
        two_fail_in_one_turn,
        one_fails_as_the_group_waits,
        one_fails_as_it_is_cancelled,
        the_body_fails,
        a_task_is_cancelled,
        the_parent_is_cancelled,
        the_parent_is_cancelled_as_it_waits,
        groups_in_groups,
        tasks_of_tasks,
        too_late,
        shutting_down,
        arguments,
    ],
    ids=lambda play: play.__name__,
)
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
async def test_tells_what_asyncios_tells(play, debug):
    asyncio.get_running_loop().set_debug(debug)
    expected = await played(STOCK, play)
    assert len(expected) > 0
    assert await played(penstock.TaskGroup, play) == expected


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_end_of_the_program(task_group, new_loop, end):
    async def main():
        async with task_group() as group:
            group.create_task(value(None, 9))
            group.create_task(fail(end()))

    loop = new_loop()
    try:
        with pytest.raises(end):
            loop.run_until_complete(main())
        [task] = [
            task for task in asyncio.all_tasks(loop) if task.get_coro().cr_code is main.__code__
        ]
        with pytest.raises(end):
            loop.run_until_complete(task)
    finally:
        loop.close()


async def test_a_handler_hears_in_the_context_of_create_task(task_group):
    variable = contextvars.ContextVar("variable", default="none")
    heard = []

    class Group(task_group):
        def _is_base_error(self, exc):
            heard.append((variable.get(), asyncio.current_task()))
            raise OSError("broken")

    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    with pytest.raises(ExceptionGroup):
        async with Group() as group:
            variable.set("first")
            first = group.create_task(fail(ValueError(1), 1))
            variable.set("second")
            second = group.create_task(fail(ValueError(2), 2))
            variable.set("later")
    assert heard == [("first", None), ("second", None)]
    assert [str(context["exception"]) for context in told] == ["broken"] * 2
    assert all(context["message"].startswith("Exception in callback ") for context in told)
    assert first.done() and second.done()


async def test_a_parent_that_is_done(task_group):
    told = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    group = task_group()

    async def enter():
        await group.__aenter__()

    await loop.create_task(enter())
    task = group.create_task(fail(ValueError(1)))
    await value(None, 4)
    [context] = told
    assert "has errored out but its parent" in context["message"]
    assert context["task"] is task


# ---- who may do what with it ---------------------------------------------------------------------


async def test_a_subclass_is_asked_by_its_methods(task_group):
    called = []

    class Group(task_group):
        def create_task(self, coro, **keywords):
            called.append("create_task")
            return super().create_task(coro, **keywords)

        def _on_task_done(self, task):
            called.append("_on_task_done")
            super()._on_task_done(task)

        async def __aenter__(self):
            called.append("__aenter__")
            return await super().__aenter__()

        async def __aexit__(self, *error):
            called.append("__aexit__")
            return await super().__aexit__(*error)

    async with Group() as group:
        task = group.create_task(value(1), name="name")
    assert called == ["__aenter__", "create_task", "__aexit__", "_on_task_done"]
    assert task.result() == 1 and task.get_name() == "name"


async def test_a_subclass_that_aborts_in_its_own_way(task_group):
    aborted = []

    class Group(task_group):
        def _abort(self):
            aborted.append(len(self._tasks))
            super()._abort()

    with pytest.raises(ExceptionGroup):
        async with Group() as group:
            group.create_task(fail(ValueError()))
            group.create_task(value(None, 9))
    assert aborted == [1]


def test_a_loop_that_makes_tasks_of_its_own(task_group, own_tasks):
    loop, made = own_tasks

    async def main():
        async with task_group() as group:
            return group.create_task(value(1))

    assert loop.run_until_complete(main()).result() == 1
    assert len(made) == 2


async def test_an_eager_factory_starts_them_at_once(task_group):
    if sys.version_info < (3, 12):
        pytest.skip("asyncio.eager_task_factory came with 3.12")
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with task_group() as group:
        assert group.create_task(value(1)).done()
        later = group.create_task(value(2, 1))
        assert not later.done()
    assert later.result() == 2


async def test_its_callback_can_be_taken_off(task_group):
    async with task_group() as group:
        task = group.create_task(value(1))
        [(callback, _)] = task._callbacks
        assert task.remove_done_callback(callback) == 1
        await task
        assert group._tasks == {task}
        group._on_task_done(task)
        assert group._tasks == set()


async def test_attributes_are_there_and_can_be_set(task_group):
    group = task_group()
    first = {name: getattr(group, name) for name in NAMES}
    assert first == {name: getattr(STOCK(), name) for name in NAMES}
    async with group:
        task = group.create_task(value(None, 1))
        assert group._tasks == {task}
        assert group._parent_task is asyncio.current_task()
        assert group._loop is asyncio.get_running_loop()
        assert group._entered and not group._exiting and not group._aborting
        group._tasks.discard(task)
        group._tasks = {task}
        group.note = 1
    assert group._tasks == set() and group._exiting and group.note == 1
    group._errors = [1]
    assert repr(group) == "<TaskGroup errors=1 entered>"


async def test_odd_attributes_do_no_harm(task_group):
    group = task_group()
    async with group:
        tasks, group._tasks = group._tasks, frozenset()
        with pytest.raises(AttributeError):
            group.create_task(value(None, 1))
        group._tasks = tasks
        await value(None, 4)
    group._loop = 5
    group._exiting = False
    coroutine = value()
    with pytest.raises(AttributeError):
        group.create_task(coroutine)
    coroutine.close()


def without_names(shown):
    return re.sub(r"Task-\d+|0x[0-9a-f]+", "…", shown)


async def test_shows_what_asyncios_shows():
    shown = []
    for task_group in (STOCK, penstock.TaskGroup):
        async with task_group() as group:
            task = group.create_task(value(None, 1))
            shown.append([without_names(one) for one in (repr(group), repr(task))])
    assert shown[0] == shown[1]


def test_a_class_like_asyncios():
    for name in ("create_task", "__aenter__", "__aexit__"):
        ours, theirs = (
            [*inspect.signature(getattr(cls, name)).parameters.values()][1:]
            for cls in (penstock.TaskGroup, STOCK)
        )
        assert ours == theirs
    assert isinstance(penstock.TaskGroup(), STOCK)
    assert isinstance(STOCK(), penstock.TaskGroup)
    assert issubclass(STOCK, penstock.TaskGroup)
    for cls in (penstock.TaskGroup, STOCK):
        made = cls()
        made.note = 1
        for again in (copy.copy(made), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
            assert type(again) is cls and again.note == 1 and repr(again) == repr(made)
    with pytest.raises(AttributeError, match=r"__init__\(\) was not called"):
        repr(penstock.TaskGroup.__new__(penstock.TaskGroup))


async def test_install_puts_it_in_place_and_uninstall_back():
    penstock.install()
    try:
        assert asyncio.TaskGroup is asyncio.taskgroups.TaskGroup is penstock.TaskGroup
        async with asyncio.TaskGroup() as group:
            assert isinstance(group, STOCK)
    finally:
        penstock.uninstall()
    assert asyncio.TaskGroup is asyncio.taskgroups.TaskGroup is STOCK


# ---- the end -------------------------------------------------------------------------------------


@needs_native_task
async def test_nothing_is_left_of_it(task_group):
    gc.collect()
    gc.disable()
    try:
        async with task_group() as group:
            tasks = [group.create_task(value(None, i)) for i in range(3)]
        gone = [weakref.ref(one) for one in (group, *tasks)]
        del group, tasks
        assert [one() for one in gone] == [None] * 4
    finally:
        gc.enable()


@pytest.mark.filterwarnings("ignore:coroutine", "ignore::ResourceWarning")
def test_a_loop_that_closes_first(task_group, new_loop):
    loop = new_loop()

    async def begin():
        group = task_group()
        await group.__aenter__()
        for _ in range(3):
            group.create_task(value())
        loop.stop()
        return weakref.ref(group)

    task = loop.create_task(begin())
    loop.run_forever()
    gone = task.result()
    for left in asyncio.all_tasks(loop):
        left._log_destroy_pending = False
    loop.close()
    del task, left
    gc.collect()
    assert gone() is None
