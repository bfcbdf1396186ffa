"""What has to happen happens, or is reported, where memory is out at that very moment."""

import subprocess
import sys

import pytest

pytest.importorskip("_testcapi")


def run_script(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


CALLBACK = """
import _testcapi, penstock

loop = penstock.new_event_loop()
reports = []
loop.set_exception_handler(lambda loop, context: reports.append(context))
kept = [loop.call_soon(int) for _ in range(1000)]  # no spare handle is left
future = loop.create_future()
future.add_done_callback(print)
future.add_done_callback(kept.append)
result = object()
_testcapi.set_nomemory(0, 1)
future.set_result(result)
_testcapi.remove_mem_hooks()
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
(report,) = reports
assert report["future"] is future and report["callback"] is print
assert isinstance(report["exception"], MemoryError)
assert kept[-1] is future
print(report["message"])
"""


def test_a_done_callback_that_can_not_be_scheduled_is_reported():
    assert run_script(CALLBACK) == "A done callback could not be scheduled\n"


# Whatever is pushed after the limit, the ready queue has no room for it.
WAKE = """
import asyncio, re, resource, penstock

async def wait(future):
    global done
    await future
    done += 1

async def main():
    future = asyncio.get_running_loop().create_future()
    tasks = [asyncio.create_task(wait(future)) for _ in range(2**18 - 1000)]
    await asyncio.sleep(0)
    others = [asyncio.create_task(wait(future)) for _ in range(2000)]
    await asyncio.sleep(0)
    used = int(re.search(r"VmSize:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) << 10
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), limits[1]))
    future.set_result(None)
    await asyncio.sleep(0)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    for task in tasks + others:
        await task
    print(done == len(tasks) + len(others))

done = 0
penstock.run(main())
"""


@pytest.mark.memory
def test_a_task_wakes_where_the_ready_queue_has_no_room():
    assert run_script(WAKE) == "True\n"


ANSWER = """
import _testcapi, socket, time, penstock

loop = penstock.new_event_loop()
loop.call_soon(loop.stop)
loop.run_forever()
answer = loop._resolve("localhost", 80, 0, socket.SOCK_STREAM, 0, 0)
time.sleep(0.5)
loop.stop()
_testcapi.set_nomemory(0)
penstock._core.Loop._run(loop)
_testcapi.remove_mem_hooks()
assert isinstance(answer.exception(), MemoryError)
loop.close()
"""


def test_an_answer_that_finds_no_memory_says_so():
    run_script(ANSWER)


# Each allocation in turn: of a turn in which tasks come to wait for a future that others await.
WAIT = """
import _testcapi, asyncio, penstock

async def wait(future):
    return await future

loop = penstock.new_event_loop()
loop.set_exception_handler(lambda loop, context: None)
outcomes = set()
for failing in range(40):
    future = loop.create_future()
    tasks = [loop.create_task(wait(future)) for _ in range(3)]
    tasks[2].cancel()
    loop.stop()
    _testcapi.set_nomemory(failing, failing + 1)
    try:
        penstock._core.Loop._run(loop)
    except MemoryError:
        pass
    _testcapi.remove_mem_hooks()
    future.done() or future.set_result(1)
    loop.run_until_complete(asyncio.wait(tasks, timeout=5))
    for task in tasks:
        assert task.done(), (failing, task)
        outcomes.add("cancelled" if task.cancelled() else type(task.exception()).__name__)
loop.close()
print(*sorted(outcomes))
"""


def test_a_task_that_can_not_wait_learns_of_it():
    assert run_script(WAIT) == "MemoryError NoneType cancelled\n"


# Each allocation in turn of a wait for what another already waits for.
READERS = """
import _testcapi, asyncio, socket, penstock

loop = penstock.new_event_loop()
kept = []
refused = 0
for failing in range(20):
    near, far = socket.socketpair()
    first, second = loop._wait_readable(far.fileno()), None
    fd = far.fileno()
    _testcapi.set_nomemory(failing, failing + 1)
    try:
        second = loop._wait_readable(fd)
    except MemoryError:
        refused += 1
    _testcapi.remove_mem_hooks()
    near.send(b"x")
    loop.run_until_complete(asyncio.wait_for(first, 5))
    assert second is None or second.done()
    kept += [near, far, first, second]
loop.close()
print(0 < refused < 20)
"""


def test_a_wait_that_is_refused_leaves_those_before_it():
    assert run_script(READERS) == "True\n"


# Each allocation in turn of a turn that steps a task, often enough that the dict behind
# current_task(), below 3.14, is made anew in one of them.
CURRENT = """
import _testcapi, asyncio, penstock

async def current():
    return asyncio.current_task(loop)

loop = penstock.new_event_loop()
loop.set_exception_handler(lambda loop, context: None)
for failing in range(8):
    for _ in range(24):
        task = loop.create_task(current())
        loop.stop()
        asyncio._set_running_loop(loop)
        _testcapi.set_nomemory(failing, failing + 1)
        try:
            penstock._core.Loop._run(loop)
        except MemoryError:
            pass
        _testcapi.remove_mem_hooks()
        asyncio._set_running_loop(None)
        loop.run_until_complete(asyncio.wait([task], timeout=5))
        if task.exception() is None:
            assert task.result() is task, failing
        else:
            assert isinstance(task.exception(), MemoryError), task.exception()
loop.close()
"""


def test_a_task_never_runs_as_if_it_were_none():
    run_script(CURRENT)
