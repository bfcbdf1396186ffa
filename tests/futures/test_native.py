"""What only penstock's Task, Future and loop have: records, the fallback, subinterpreters."""

import asyncio
import gc
import io
import os
import subprocess
import sys
import textwrap
import time
import weakref

import penstock
import pytest
from penstock import _core

needs_native_task = pytest.mark.skipif(
    not _core.native_task, reason=f"no native Task: {_core.why_stock_task}"
)


def run_python(source, *options, **environment):
    return subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(source)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def line_of(record):
    code = record["spawn_code"]
    for begin, end, line in code.co_lines():
        if begin <= record["spawn_offset"] < end:
            return line
    return None


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_record_tells_who_where_what_and_since_when():
    loop = asyncio.get_running_loop()
    me = asyncio.current_task()
    future = loop.create_future()

    async def wait():
        await future

    task, line = loop.create_task(wait()), sys._getframe().f_lineno
    record = _core.task_record(task)
    assert record["id"] > _core.task_record(me)["id"] == record["parent"]
    assert record["spawn_code"] is sys._getframe().f_code and line_of(record) == line
    assert record["wait_kind"] is None and record["since"] is None
    begin = time.monotonic()
    await asyncio.sleep(0.05)
    record = _core.task_record(task)
    assert record["wait_kind"] == "future" and record["waits_for"] is future
    # The turn's time, which may be a tick of the kernel's coarse clock behind.
    assert begin - 0.02 <= record["since"] <= time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_nothing_that_the_base_writes_moves_the_place_of_birth():
    """The offset lies beside the base's flags."""
    loop = asyncio.get_running_loop()
    task, line = loop.create_task(asyncio.sleep(1000)), sys._getframe().f_lineno
    task._log_destroy_pending = False
    for cancel in (task.cancel, lambda: asyncio.Task.cancel(task, "why")):
        assert cancel() and task.cancelling() and line_of(_core.task_record(task)) == line
        task.uncancel()
        assert line_of(_core.task_record(task)) == line
    task.cancel()  # the newest CPythons' uncancel() has taken the others back
    with pytest.raises(asyncio.CancelledError):
        await task
    assert line_of(_core.task_record(task)) == line


@needs_native_task
def test_a_task_is_no_longer_than_what_it_has_to_remember():
    words = 8 if sys.version_info >= (3, 14) else 10  # where CPython's own tasks are in no list
    assert penstock.Task.__basicsize__ == asyncio.Task.__basicsize__ + 8 * words


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_wait_is_since_the_turn_began():
    """No clock is read: what waits at the end of a long step has its turn's time."""
    begin = None

    async def work_and_wait():
        nonlocal begin
        begin = time.monotonic()
        while time.monotonic() < begin + 0.2:
            pass
        await asyncio.sleep(10)

    task = asyncio.create_task(work_and_wait())
    while begin is None:
        await asyncio.sleep(0)
    assert begin - 0.1 < _core.task_record(task)["since"] < begin + 0.1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_task_of_a_callback_has_no_parent():
    made = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(
        lambda: made.set_result(asyncio.create_task(asyncio.sleep(0)))
    )
    task = await made
    assert _core.task_record(task)["parent"] is None
    await task


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_record_tells_a_future_of_another_make():
    class Foreign:
        _asyncio_future_blocking = False
        get_loop = staticmethod(asyncio.get_running_loop)

        def add_done_callback(self, callback, context=None):
            self.wake = callback

        def cancel(self, msg=None):
            return False

        def cancelled(self):
            return False

        def exception(self):
            return None

        def result(self):
            return "done"

        def __await__(self):
            self._asyncio_future_blocking = True
            yield self
            return "done"

    foreign = Foreign()

    async def wait():
        return await foreign

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    record = _core.task_record(task)
    assert record["wait_kind"] == "foreign future" and record["waits_for"] is foreign
    foreign.wake(foreign)
    assert await task == "done"


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_record_tells_who_cancelled_where_and_why():
    task = asyncio.create_task(asyncio.sleep(10))
    assert _core.task_record(task)["cancelled"] is None
    task.cancel("first")
    task.cancel("out of stock")
    told = _core.task_record(task)["cancelled"]
    assert told["by"] == _core.task_record(asyncio.current_task())["id"]
    assert told["message"] == "out of stock"
    assert told["code"] is sys._getframe().f_code and told["offset"] > 0
    with pytest.raises(asyncio.CancelledError):
        await task


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_record_tells_a_timeout_from_a_task_group():
    seen = []

    async def sleep():
        try:
            await asyncio.sleep(10)
        finally:
            told = _core.task_record(asyncio.current_task())["cancelled"]
            seen.append((told["code"].co_name, told["by"]))

    async def fail():
        raise KeyError

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await sleep()
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(sleep())
            group.create_task(fail())
    assert seen == [("_on_timeout", None), ("_abort", None)]


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_records_cancellation_is_no_leak():
    class Message:
        pass

    async def wait(message):
        await asyncio.sleep(10)

    message = Message()
    task = asyncio.create_task(wait(message))
    message.task = task  # a cycle through the record
    task.cancel(message)
    await asyncio.wait([task])
    alive = weakref.ref(message)
    del task, message
    gc.collect()
    assert alive() is None


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_record_tells_who_woke():
    loop = asyncio.get_running_loop()
    gates = [loop.create_future() for _ in range(2)]
    woken_by = []

    async def wait():
        for gate in gates:
            await gate
            woken_by.append(_core.task_record(asyncio.current_task())["woken_by"])

    async def wake():
        gates[0].set_result(None)
        return _core.task_record(asyncio.current_task())["id"]

    task = loop.create_task(wait())
    await asyncio.sleep(0)
    waker = await loop.create_task(wake())
    loop.call_soon(gates[1].set_result, None)
    await task
    assert woken_by == [waker, None]


@needs_native_task
@pytest.mark.penstock_only("asyncio keeps no records")
async def test_a_record_tells_of_sleeps_and_tasks():
    async def sleep():
        await _core.sleep(10)

    async def wait(task):
        await task

    sleeper = asyncio.create_task(sleep())
    waiter = asyncio.create_task(wait(sleeper))
    await asyncio.sleep(0)
    assert _core.task_record(sleeper)["wait_kind"] == "sleep"
    assert _core.task_record(waiter)["wait_kind"] == "task"
    assert _core.task_record(waiter)["waits_for"] is sleeper
    waiter.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await waiter
    assert sleeper.cancelled()


async def test_foreign_tasks_have_no_record(new_loop):
    task = asyncio.tasks._CTask(asyncio.sleep(0), loop=asyncio.get_running_loop())
    assert _core.task_record(task) is None
    assert _core.task_record(12) is None
    await task


@needs_native_task
def test_native_types_are_in_use():
    assert _core.native_task and _core.why_stock_task is None
    assert penstock.Task is _core.Task and issubclass(penstock.Task, penstock.Future)


UNKNOWN_LAYOUT = """
    import asyncio, _asyncio, warnings
    Future, Task = _asyncio.Future, _asyncio.Task
    class Longer(Future):
        __slots__ = ("more",)
    _asyncio.Future = Longer
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import penstock
    _asyncio.Future = Future
    assert [str(w.message) for w in caught if w.category is RuntimeWarning] == [
        "penstock runs without its native Task: the layout of asyncio's Future and Task is not "
        "the expected one: their size. Everything works, slower."
    ], caught
"""

FALLBACK = """
    import asyncio, penstock
    from penstock import _core
    assert not _core.native_task and penstock.Task is asyncio.Task

    async def value(x):
        await asyncio.sleep(0.001)
        return x

    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def main():
        task = asyncio.current_task()
        assert type(task) is asyncio.Task and task in asyncio.all_tasks()
        assert await asyncio.gather(value(1), value(2)) == [1, 2]
        try:
            async with asyncio.timeout(0.01):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            pass
        await _core.sleep(0.001)
        assert await asyncio.create_task(value(3), name="three") == 3
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\\n")
            assert await reader.read() == b"hello\\n"
            writer.close()
        return "all well"

    print(penstock.run(main()))
    penstock.install()
    print(asyncio.run(main()))
"""


def test_without_the_native_task_everything_works():
    done = run_python(FALLBACK, PENSTOCK_STOCK_TASK="1")
    assert (done.stdout, done.stderr, done.returncode) == ("all well\nall well\n", "", 0)


def test_an_unknown_layout_is_told_of_and_everything_works():
    source = textwrap.dedent(UNKNOWN_LAYOUT) + textwrap.dedent(FALLBACK)
    done = run_python(source, PENSTOCK_STOCK_TASK="")
    assert (done.stdout, done.stderr, done.returncode) == ("all well\nall well\n", "", 0)


SUBINTERPRETER = """
    import sys
    try:
        import _interpreters as interpreters
        create = interpreters.create
    except ImportError:
        import _xxsubinterpreters as interpreters
        create = lambda: interpreters.create(isolated=False)
    script = '''if True:
        import asyncio, penstock
        async def main():
            await asyncio.sleep(0.001)
            return sum(await asyncio.gather(*[asyncio.sleep(0, i) for i in range(10)]))
        assert penstock.run(main()) == 45
        '''
    exec(script)
    for _ in range(3):
        made = create()
        failed = interpreters.run_string(made, script)
        assert not failed, failed
        interpreters.destroy(made)
    exec(script)
    print("all well")
"""


def test_several_interpreters_in_a_process():
    done = run_python(SUBINTERPRETER)
    assert (done.stdout, done.returncode) == ("all well\n", 0), done.stderr


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs came with CPython 3.14")
async def test_call_graphs_see_native_tasks(new_loop):
    future = asyncio.get_running_loop().create_future()

    async def inner():
        await future

    async def outer():
        async with asyncio.TaskGroup() as group:
            group.create_task(inner(), name="INNER")

    task = asyncio.create_task(outer(), name="OUTER")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    graph = asyncio.format_call_graph(future)
    assert "name='INNER'" in graph and "name='OUTER'" in graph and "inner()" in graph
    future.set_result(None)
    await task
    assert not future._asyncio_awaited_by


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs came with CPython 3.14")
async def test_a_running_task_prints_its_call_graph(new_loop):
    printed = io.StringIO()

    async def inner():
        await asyncio.sleep(0)
        asyncio.print_call_graph(file=printed)

    async def outer():
        async with asyncio.TaskGroup() as group:
            group.create_task(inner(), name="INNER")

    await asyncio.create_task(outer(), name="OUTER")
    lines = printed.getvalue().splitlines()
    tasks = [line.split("name=")[1].split()[0] for line in lines if "Task(" in line]
    assert tasks[:2] == ["'INNER',", "'OUTER',"]
    assert any("inner()" in line for line in lines) and any("outer()" in line for line in lines)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="`asyncio ps` came with CPython 3.14")
@pytest.mark.parametrize("command", ["ps", "pstree"])
def test_asyncio_ps_sees_native_tasks(command):
    program = """
        import asyncio, penstock
        async def main():
            print("ready", flush=True)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60), name="SLEEPER")
        penstock.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.3)  # until it waits: nothing tells from outside
            seen = subprocess.run(
                [sys.executable, "-m", "asyncio", command, str(process.pid)],
                capture_output=True,
                text=True,
                timeout=30,
            )
        finally:
            process.kill()
    if "PermissionError" in seen.stderr or "Operation not permitted" in seen.stderr:
        pytest.skip("this machine lets no process read another's memory")
    assert "SLEEPER" in seen.stdout, seen.stderr


@pytest.mark.parametrize("end", ["fails", "cancelled"])
async def test_what_result_raises_has_what_is_handled_as_its_context(end):
    future = asyncio.get_running_loop().create_future()
    if end == "fails":
        future.set_exception(ValueError("its own"))
    else:
        future.cancel()
    handled = KeyError("handled")
    try:
        raise handled
    except KeyError:
        with pytest.raises((ValueError, asyncio.CancelledError)) as caught:
            future.result()
    assert caught.value.__context__ is handled
