"""The process exits while a loop is open, in every state that it may be in."""

import pytest


def test_the_loop_never_ran(ends):
    ends("loop = new_loop()")


def test_what_was_scheduled_never_runs(ends):
    ends("""
        loop = new_loop()
        loop.call_soon(print, "ran")
        loop.call_soon_threadsafe(print, "ran")
        loop.call_later(0, print, "ran")
        future = loop.create_future()
        future.add_done_callback(print)
    """)


def test_tasks_never_ran(ends):
    ends("""
        loop = new_loop()
        async def main():
            print("ran")
        tasks = [loop.create_task(main()) for _ in range(3)]
    """)


def test_tasks_are_suspended(ends):
    ends(
        """
        loop = new_loop()
        async def main():
            try:
                await asyncio.sleep(3600)
            finally:
                print("left")
        async def hold():
            await asyncio.gather(main(), main())
        task = loop.create_task(hold())
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        """,
        output="left\nleft\n",
    )


def test_suspended_tasks_that_nobody_holds(ends):
    ends(
        """
        loop = new_loop()
        async def main():
            try:
                await loop.create_future()
            finally:
                print("left")
        for _ in range(3):
            loop.create_task(main())
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        """,
        output="left\nleft\nleft\n",
    )


TRANSPORTS = """
async def open_all():
    loop = asyncio.get_running_loop()
    transport, far = await connection()
    transport.write(bytes(10_000_000))
    loop.add_reader(far, int)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    streams = await asyncio.open_connection(*server.sockets[0].getsockname())
    datagrams = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    read_end, write_end = os.pipe()
    reader = await loop.connect_read_pipe(asyncio.Protocol, open(read_end, "rb"))
    writer = await loop.connect_write_pipe(asyncio.Protocol, open(write_end, "wb"))
    return [transport, far, server, streams, datagrams, reader, writer]

class Loop(type(new_loop())):
    pass
"""


@pytest.mark.parametrize("kept", ["kept = ", "loop.kept = ", "sys.kept = ", ""])
def test_transports_and_servers_are_open(ends, kept):
    ends(f"{TRANSPORTS}\nloop = Loop()\n{kept}loop.run_until_complete(open_all())")


@pytest.mark.parametrize("then", ["1 / 0", "sys.exit(1)"])
def test_the_runner_leaves_transports_open(ends, then):
    main = f"async def main():\n    kept = await open_all()\n    {then}"
    ends(f"{TRANSPORTS}\n{main}\nrun(main())", status=1)


@pytest.mark.parametrize("then", ["", "loop.close()"])
def test_a_handshake_is_in_progress(ends, then):
    ends(f"""
        loop = new_loop()
        async def main():
            near, far = socket.socketpair()
            far.setblocking(False)
            context = ssl.create_default_context()
            task = loop.create_task(loop.create_connection(
                asyncio.Protocol, sock=near, ssl=context, server_hostname="localhost"))
            await loop.sock_recv(far, 1)
            assert not task.done()
            return far, task
        far, task = loop.run_until_complete(main())
        {then}
    """)


def test_an_asynchronous_generator_is_suspended(ends):
    ends("""
        loop = new_loop()
        async def numbers():
            yield 1
            yield 2
        async def main():
            global generator
            generator = numbers()
            await anext(generator)
        loop.run_until_complete(main())
    """)


def test_look_ups_are_under_way(ends):
    ends("""
        loop = new_loop()
        async def main():
            tasks = [loop.create_task(loop.getaddrinfo("localhost", n)) for n in range(20)]
            await asyncio.sleep(0)
            return tasks
        tasks = loop.run_until_complete(main())
    """)


def test_executor_threads_are_busy(ends):
    ends(
        """
        loop = new_loop()
        go_on = threading.Event()
        async def main():
            for _ in range(3):
                loop.run_in_executor(None, go_on.wait)
            loop.run_in_executor(None, print, "done")
            await asyncio.sleep(0)
        loop.run_until_complete(main())
        threading._register_atexit(go_on.set)
        """,
        output="done\n",
    )


def test_a_closed_loops_executor_is_busy(ends):
    ends(
        """
        loop = new_loop()
        go_on = threading.Event()
        async def main():
            loop.run_in_executor(None, go_on.wait).add_done_callback(print)
            loop.run_in_executor(None, print, "done")
            await asyncio.sleep(0)
        loop.run_until_complete(main())
        loop.close()
        go_on.set()
        """,
        output="done\n",
    )


CHILD = """
    async def main():
        global process
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
"""


@pytest.mark.parametrize("then", ["", "loop.close()", "del process, loop; gc.collect()"])
def test_a_child_runs(start, finish, then):
    """asyncio's dies of the pipe's end, after errors of Popen's and the transport's."""
    source = f"{CHILD}\n    loop = new_loop()\n    loop.run_until_complete(main())\n    {then}"
    for options in [(), ("-X", "dev")]:
        ending = finish(start("penstock", source, *options))
        assert (ending.status, ending.output) == (0, "")
        assert not [line for line in ending.complaints if "Exception ignored" in line]


@pytest.mark.parametrize(
    "way", ["loop.call_soon", "loop.call_later, 0", "loop.call_soon_threadsafe"]
)
@pytest.mark.parametrize("last", ["sys.exit, 3", "os._exit, 3"])
def test_a_callback_exits(ends, way, last):
    method, *delay = way.split(", ")
    ends(
        f"""
        loop = new_loop()
        {method}({", ".join([*delay, last])})
        loop.call_later(60, print)
        loop.run_forever()
        """,
        status=3,
    )


@pytest.mark.parametrize(
    "how",
    ["sys.exit(3)", "os._exit(3)", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGKILL)"],
)
def test_the_main_task_exits(ends, how):
    ends(
        f"""
        async def main():
            other = asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0)
            {how}
        run(main())
        """,
        status=-9 if "KILL" in how else 3,
    )


def test_another_task_exits(ends):
    ends(
        """
        async def leave():
            sys.exit(3)
        async def main():
            task = asyncio.create_task(leave())
            try:
                await asyncio.sleep(60)
            finally:
                print("left")
        run(main())
        """,
        status=3,
        output="left\n",
    )


@pytest.mark.parametrize(
    "method", ["connection_made", "data_received", "eof_received", "connection_lost"]
)
@pytest.mark.parametrize("exception", ["SystemExit(3)", "KeyboardInterrupt"])
def test_a_protocol_exits(ends, method, exception):
    ends(
        f"""
        class Leaves(asyncio.Protocol):
            def {method}(self, *args):
                raise {exception}
        async def main():
            transport, far = await connection(Leaves)
            far.send(b"data")
            far.close()
            await asyncio.sleep(60)
        run(main())
        """,
        status=3 if "Exit" in exception else -2,
    )


def test_a_signal_handler_exits(ends):
    ends(
        """
        async def main():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sys.exit, 3)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        run(main())
        """,
        status=3,
    )


def test_signal_handlers_are_left(ends):
    ends("""
        loop = new_loop()
        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.add_signal_handler(signal.SIGINT, print)
        loop.call_soon(loop.stop)
        loop.run_forever()
    """)


def test_a_signal_after_the_loop_kills_as_ever(ends):
    ends(
        """
        async def main():
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
        run(main())
        os.kill(os.getpid(), signal.SIGUSR1)
        """,
        status=-10,
    )


@pytest.mark.parametrize("place", ["callback", "task"])
def test_keyboard_interrupt(ends, place):
    ends(
        f"""
        def callback():
            raise KeyboardInterrupt
        async def task():
            callback()
        async def main():
            loop = asyncio.get_running_loop()
            kept = loop.create_task(task()) if {place == "task"} else loop.call_soon(callback)
            try:
                await asyncio.sleep(60)
            finally:
                print("left")
        run(main())
        """,
        status=-2,
        output="left\n",
    )


def test_keyboard_interrupt_leaves_tasks(ends):
    ends(
        """
        def interrupt():
            raise KeyboardInterrupt
        loop = new_loop()
        loop.call_soon(interrupt)
        task = loop.create_task(asyncio.sleep(60))
        loop.run_forever()
        """,
        status=-2,
    )


def test_an_exception_that_nobody_has_asked_for(ends):
    ends("""
        async def fail():
            raise ValueError("lost")
        async def main():
            global task
            task = asyncio.create_task(fail())
            await asyncio.sleep(0)
        run(main())
    """)


def test_standard_output_is_closed(ends):
    ends("""
        async def main():
            sys.stdout.close()
        run(main())
    """)
