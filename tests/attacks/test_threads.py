"""Threads that call into a loop, loops in threads, and interpreters in threads."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading

import pytest


@pytest.fixture(autouse=True)
def _threads_take_turns_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(count, function, *args):
    """Starts `function(*args)` that often, and returns what joins them and raises what they did."""
    failures = []

    def run():
        try:
            function(*args)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    return join


def test_many_threads_call_one_loop(loop):
    calls = []

    async def double(number):
        await asyncio.sleep(0)
        return 2 * number

    def call():
        for number in range(300):
            loop.call_soon_threadsafe(calls.append, number)
            if number % 30 == 0:
                doubled = asyncio.run_coroutine_threadsafe(double(number), loop)
                assert doubled.result(30) == 2 * number

    async def main():
        join = in_threads(6, call)
        await loop.run_in_executor(None, join)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    assert sorted(calls) == sorted(6 * list(range(300)))


def test_threads_call_a_loop_that_closes(new_loop):
    for _ in range(20):
        loop = new_loop()
        calls = []

        def call(loop=loop, calls=calls):
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                while True:
                    loop.call_soon_threadsafe(calls.append, 1)

        join = in_threads(3, call)
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        loop.close()
        join()


@pytest.mark.penstock_only("asyncio's executor would be waited for")
def test_a_loop_closes_over_its_look_ups(new_loop):
    for turns in range(60):
        loop = new_loop()

        async def ask(turns=turns, loop=loop):
            questions = [
                asyncio.ensure_future(loop.getaddrinfo("localhost", port)) for port in range(20)
            ]
            for _ in range(turns % 6):
                await asyncio.sleep(0)
            for question in questions:
                question.cancel()
            await asyncio.wait(questions)

        loop.run_until_complete(ask())
        loop.close()


def test_loops_in_threads_that_talk_to_each_other(new_loop):
    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
        writer.close()

    addresses = []
    all_serve = threading.Barrier(4)
    all_are_done = threading.Barrier(4)

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        addresses.append(server.sockets[0].getsockname())
        await loop.run_in_executor(None, all_serve.wait, 30)
        for address in [*addresses] * 3:
            reader, writer = await asyncio.open_connection(*address)
            for _ in range(10):
                writer.write(b"ping")
                assert await reader.readexactly(4) == b"ping"
            writer.close()
            await writer.wait_closed()
        await loop.run_in_executor(None, all_are_done.wait, 30)
        server.close()
        await server.wait_closed()

    def run():
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())

    in_threads(4, run)()


INTERPRETERS = """
    import sys, threading
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    script = '''if True:
        import asyncio, penstock

        async def echo(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        async def main():
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            for _ in range(20):
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"hello\\\\n")
                assert await reader.read() == b"hello\\\\n"
                writer.close()
            server.close()
            await asyncio.gather(*[asyncio.sleep(0.001 * i) for i in range(20)])
            await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            await asyncio.to_thread(int)

        penstock.run(main())
        '''
    failures = []

    def run():
        for _ in range(2):
            made = interpreters.create()
            try:
                failed = interpreters.run_string(made, script)
                if failed:
                    failures.append(failed)
            finally:
                interpreters.destroy(made)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    print("all well")
"""


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="CPython 3.12 crashes, with stock asyncio too"
)
def test_interpreters_in_threads():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERPRETERS)],
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stdout, done.returncode) == ("all well\n", 0), done.stderr
