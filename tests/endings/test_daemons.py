"""Daemon threads that are amid calls into a loop as the interpreter ends.

Up to CPython 3.13 they are unwound by pthread_exit() where they ask for the GIL, from 3.14 on they
wait: either must do no harm, whatever the call.
"""

import pytest

# Each is called without an end, by threads of its own.
CALLS = {
    "post": "loop.call_soon_threadsafe(int)",
    "closed": "closed.call_soon_threadsafe(int)",
    "coroutine": "asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)",
    "loops": "own = new_loop(); own.call_soon(own.stop); own.run_forever(); own.close()",
    "tasks": "run(everything())",
    "executor": "run(asyncio.to_thread(int))",
    "look-ups": "run(look_up())",
    "objects": "loop.create_future().add_done_callback(int); asyncio.Future(loop=loop)",
}

PROGRAM = """
async def everything():
    loop = asyncio.get_running_loop()
    transport, far = await connection()
    transport.write(b"data")
    far.recv(4)
    await asyncio.gather(*[asyncio.sleep(0) for _ in range(5)])
    async with asyncio.timeout(1):
        await asyncio.sleep(0.0001)
    transport.close()
    far.close()

async def look_up():
    await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)

sys.unraisablehook = threading.excepthook = lambda *_: None  # names of modules are gone by then
sys.setswitchinterval(1e-5)
loop = new_loop()
loop.set_debug({debug})
closed = new_loop()
closed.close()
started = threading.Semaphore(0)

def call():
    started.release()
    while True:
        try:
            {call}
        except RuntimeError:
            pass

for _ in range(3):
    threading.Thread(target=call, daemon=True).start()
for _ in range(3):
    started.acquire()
loop.call_later(0.02, loop.stop)
loop.run_forever()

class Late:  # dies while the threads are told to end
    def __del__(self, clock=time.monotonic):
        end = clock() + 0.03
        while clock() < end:
            pass

late = Late()
"""


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("call", CALLS)
def test_amid_calls(start, finish, call, debug):
    source = PROGRAM.format(call=CALLS[call], debug=debug)
    started = [start("penstock", source, "-W", "ignore") for _ in range(3)]
    for ending in map(finish, started):
        assert (ending.status, ending.output) == (0, ""), ending.complaints
        assert not [line for line in ending.complaints if "Fatal" in line or "terminate" in line]


@pytest.mark.parametrize("way", ["run_forever", "run_until_complete"])
def test_a_loop_runs_in_one(ends, way):
    ends(f"""
        loop = new_loop()
        started = threading.Event()
        loop.call_soon(started.set)
        waits = [loop.create_future()] if {way == "run_until_complete"} else []
        threading.Thread(target=loop.{way}, args=waits, daemon=True).start()
        started.wait()
    """)


def test_the_interpreter_waits_for_a_thread_that_is_none(ends):
    ends(
        """
        loop = new_loop()
        threading.Thread(target=loop.run_forever).start()
        @threading._register_atexit
        def stop():
            loop.call_soon_threadsafe(print, "stopped")
            loop.call_soon_threadsafe(loop.stop)
        """,
        output="stopped\n",
    )
