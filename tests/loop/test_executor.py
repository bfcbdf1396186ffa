"""Work in threads."""

import asyncio
import concurrent.futures
import logging
import threading

import pytest


async def test_a_call_runs_in_a_thread_and_returns():
    loop = asyncio.get_running_loop()
    name = await loop.run_in_executor(None, lambda: threading.current_thread().name)
    assert name.startswith("asyncio_")
    assert await loop.run_in_executor(None, divmod, 7, 2) == (3, 1)


async def test_an_exception_arrives():
    with pytest.raises(ZeroDivisionError):
        await asyncio.get_running_loop().run_in_executor(None, divmod, 1, 0)


async def test_an_executor_of_ones_own():
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="own") as executor:
        loop = asyncio.get_running_loop()
        name = await loop.run_in_executor(executor, lambda: threading.current_thread().name)
    assert name == "own_0"


async def test_the_default_can_be_set():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="own"))
    assert await loop.run_in_executor(None, lambda: threading.current_thread().name) == "own_0"


def test_only_thread_pools_can_be_the_default(loop):
    with pytest.raises(TypeError, match="^executor must be ThreadPoolExecutor instance$"):
        loop.set_default_executor(object())


def test_debug_mode_checks_the_function(loop):
    async def coroutine_function():
        pass

    loop.set_debug(True)
    with pytest.raises(TypeError, match=r"^coroutines cannot be used with run_in_executor\(\)$"):
        loop.run_in_executor(None, coroutine_function)
    with pytest.raises(
        TypeError, match=r"^a callable object was expected by run_in_executor\(\), got 5$"
    ):
        loop.run_in_executor(None, 5)


async def test_cancelling_the_future_does_not_stop_the_thread():
    release = threading.Event()
    future = asyncio.get_running_loop().run_in_executor(None, release.wait)
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    release.set()


async def test_shutdown_waits_and_refuses_what_comes_later():
    loop = asyncio.get_running_loop()
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait)
    loop.call_soon(release.set)
    await loop.shutdown_default_executor()
    assert future.done()
    with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
        loop.run_in_executor(None, print)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert await loop.run_in_executor(executor, str, 1) == "1"


async def test_shutdown_without_an_executor():
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.asyncio_since(3, 13)
async def test_shutdown_gives_up_after_its_timeout():
    loop = asyncio.get_running_loop()
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait)
    with pytest.warns(RuntimeWarning) as caught:
        await loop.shutdown_default_executor(0.01)
    assert str(caught[0].message) == (
        "The executor did not finishing joining its threads within 0.01 seconds."
    )
    release.set()
    await future


def test_close_does_not_wait(loop):
    release = threading.Event()
    future = loop.run_in_executor(None, release.wait)
    loop.close()
    assert not future.done()
    release.set()


@pytest.mark.asyncio_since(3, 13)
def test_closing_while_the_executor_is_shut_down_is_silent(new_loop, caplog):
    loop = new_loop()
    before = threading.enumerate()
    release = threading.Event()
    loop.run_in_executor(None, release.wait)
    task = loop.create_task(loop.shutdown_default_executor())
    loop.call_soon(loop.stop)
    loop.run_forever()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    with caplog.at_level(logging.DEBUG):
        started = [thread for thread in threading.enumerate() if thread not in before]
        release.set()
        for thread in started:
            thread.join(5)
    assert caplog.records == []
