"""exec() from within a running loop: the new program finds nothing of it."""

import pytest

NEW_PROGRAM = """
import os, signal, sys
left = sorted(os.listdir("/proc/self/fd"), key=int)
print(len(left) - 1, "descriptors")
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print("blocked", int(status["SigBlk"], 16), "alarm", signal.alarm(0))
print("handlers", [signal.getsignal(sig) for sig in (signal.SIGUSR1, signal.SIGTERM)])
"""


@pytest.mark.parametrize("place", ["callback", "task", "signal handler"])
def test_the_new_program_is_clean(ends, place):
    ends(
        f"""
        def leave():
            os.execv(sys.executable, [sys.executable, "-c", {NEW_PROGRAM!r}])
        async def main():
            loop = asyncio.get_running_loop()
            transport, far = await connection()
            server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            streams = await asyncio.open_connection(*server.sockets[0].getsockname())
            await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
            process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE)
            loop.add_signal_handler(signal.SIGUSR1, leave)
            looking = [loop.create_task(loop.getaddrinfo("localhost", n)) for n in range(9)]
            await asyncio.to_thread(int)
            if "{place}" == "callback":
                loop.call_soon(leave)
            elif "{place}" == "task":
                leave()
            else:
                os.kill(os.getpid(), signal.SIGUSR1)
            await asyncio.sleep(60)
        run(main())
        """,
        output="3 descriptors\nblocked 0 alarm 0\n"
        "handlers [<Handlers.SIG_DFL: 0>, <Handlers.SIG_DFL: 0>]\n",
    )


def test_a_program_that_is_not_there(ends):
    ends(
        """
        async def main():
            try:
                os.execv("/nowhere/to/be/found", ["found"])
            except FileNotFoundError:
                print("goes on")
            await asyncio.sleep(0.001)
        run(main())
        """,
        output="goes on\n",
    )
