"""fork() while a loop runs: what the child does, to its end, is nothing to its parent.

tests/loop/test_fork.py has what a child finds and may do.
"""

import pytest

# A parent that would not notice a wake-up that its child has taken, or lost.
PARENT = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # a process with threads forks

async def woken():
    loop = asyncio.get_running_loop()
    for _ in range(10):
        future = loop.create_future()
        threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, 1)).start()
        await future
    transport, far = await connection()
    far.close()
    transport.close()
    await asyncio.sleep(0.001)

def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


class TestWithinACallback:
    """The child goes on in the midst of its parent's run."""

    @pytest.mark.parametrize(
        ("last", "code"),
        [("os._exit(3)", 3), ("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", -9)],
    )
    def test_it_ends_there(self, start, finish, last, code):
        """asyncio's child takes from its parent's epoll as it leaves."""
        source = f"""{PARENT}
async def main():
    await woken()
    child = os.fork()
    if child == 0:
        {last}
    print(status(child))
    await woken()
run(main())
        """
        assert finish(start("penstock", source)) == (0, f"{code}\n", set())

    def test_an_exception_leaves_the_run(self, start, finish):
        """What unwinds in the child closes its loop, transports and servers."""
        source = f"""{PARENT}
async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    transport, far = await connection()
    loop.add_signal_handler(signal.SIGUSR1, print, "a signal", flush=True)
    child = os.fork()
    if child == 0:
        raise LookupError
    print(status(child))
    await woken()
    reader, writer = await asyncio.open_connection(*address)
    assert await reader.read() == b""
    writer.close()
    assert await loop.run_in_executor(None, int) == 0
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.sleep(0)
    transport.close()
    server.close()
run(main())
        """.replace('print, "a signal", flush=True', "print, 'a signal'")
        ending = finish(start("penstock", source))
        assert (ending.status, ending.output) == (0, "1\na signal\n"), ending.complaints
        assert ending.complaints == {"LookupError"}

    def test_it_runs_a_loop_of_its_own_and_exits(self, start, finish):
        source = f"""{PARENT}
async def main():
    await woken()
    child = os.fork()
    if child == 0:
        asyncio._set_running_loop(None)
        run(woken())
        sys.exit(3)
    print(status(child))
    await woken()
run(main())
        """
        ending = finish(start("penstock", source))
        assert ending == (0, "3\n", set())


@pytest.mark.parametrize("rounds", [8])
def test_while_look_ups_are_under_way(start, finish, rounds):
    """Their threads don't exist in the child, which looks up with threads of its own."""
    source = f"""{PARENT}
async def look_up():
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*[loop.getaddrinfo("localhost", n) for n in range(30)])
async def main():
    for _ in range({rounds}):
        looking = asyncio.ensure_future(look_up())
        await asyncio.sleep(0)
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            asyncio._set_running_loop(None)
            found = run(look_up())
            os._exit(0 if all(found) else 1)
        assert status(child) == 0
        assert all(await looking)
run(main())
    """
    assert finish(start("penstock", source)) == (0, "", set())


def test_by_another_thread(start, finish):
    """In the child that thread is the main one, and the loop that ran is nobody's."""
    source = f"""{PARENT}
def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        run(woken())
        os._exit(3)
    return status(child)
async def main():
    loop = asyncio.get_running_loop()
    for _ in range(5):
        assert await loop.run_in_executor(None, fork) == 3
        await woken()
run(main())
    """
    assert finish(start("penstock", source)) == (0, "", set())


def test_preexec_fn(ends):
    ends(
        f"""{PARENT}
def prepare():
    os.write(1, str(asyncio._get_running_loop()).encode())
async def main():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print(' ran', flush=True)", preexec_fn=prepare)
    assert await process.wait() == 0
    await woken()
run(main())
        """,
        output="None ran\n",
    )


def test_a_preexec_fn_that_fails(ends):
    ends(
        f"""{PARENT}
async def main():
    try:
        await asyncio.create_subprocess_exec("true", preexec_fn=lambda: 1 / 0)
    except subprocess.SubprocessError as error:
        print(error)
    await woken()
run(main())
        """,
        output="Exception occurred in preexec_fn.\n",
    )


def test_a_child_touches_none_of_its_parents_kernel_objects(start, finish):
    """Its epoll and eventfd are others by the time that it may use them, its parent's unchanged.

    What an epoll watches and what a ring of io_uring is asked for, /proc tells.
    """
    source = f"""{PARENT}
def watched():
    def of(name):
        with open(f"/proc/self/fdinfo/{{name}}") as info:
            return sorted(line for line in info if line.startswith(("tfd:", "  op=")))
    fds = os.listdir("/proc/self/fd")
    return [of(name) for name in fds if is_backend(name)]
def is_backend(name):
    try:
        kind = os.readlink(f"/proc/self/fd/{{name}}")
        return kind in ("anon_inode:[eventpoll]", "anon_inode:[io_uring]")
    except OSError:
        return False
loop = new_loop()
transport, far = loop.run_until_complete(connection())
loop.add_signal_handler(signal.SIGUSR1, print)
before = watched()
assert sum(map(len, before)) >= 3
child = os.fork()
if child == 0:
    signal.alarm(20)
    loop.remove_signal_handler(signal.SIGUSR1)
    transport.close()
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    loop.close()
    os._exit(3)
print(status(child))
assert watched() == before
transport.close()
far.close()
loop.run_until_complete(woken())
loop.close()
    """
    ending = finish(start("penstock", source))
    assert (ending.status, ending.output, ending.complaints) == (0, "3\n", set())
