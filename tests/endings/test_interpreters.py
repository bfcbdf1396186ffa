"""Several interpreters in a process, with a GIL of their own or a shared one.

Nowhere does penstock less than asyncio. CPython 3.12 crashes where asyncio was imported in an
interpreter with a GIL of its own, with penstock and without. In 3.11 all interpreters share the
types of `_asyncio` and one CancelledError, so that in the second one nothing can be cancelled:
penstock says that it finds them changed, and runs on the stock ones.
"""

import sys

import pytest

KINDS = ["shared", "own"] if sys.version_info >= (3, 13) else ["shared"]

has_own_types = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="CPython 3.11's asyncio does not work in two interpreters"
)

INTERPRETERS = """
import warnings
warnings.simplefilter("ignore")
try:
    import _interpreters as interpreters
    def create(kind):
        return interpreters.create({"own": "isolated", "shared": "legacy"}[kind])
except ImportError:
    import _xxsubinterpreters as interpreters
    def create(kind):
        return interpreters.create(isolated=kind == "own")

def execute(interpreter, script):
    failed = interpreters.run_string(interpreter, script)
    assert not failed, failed

def inside(script):
    made = create(KIND)
    execute(made, SCRIPT + script)
    return made
"""

# What an interpreter runs, after all of the prelude.
WORK = """
async def work():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await reader.read()
    writer.close()
    server.close()
    await asyncio.gather(*[asyncio.sleep(0.0001) for _ in range(10)])
    future = loop.create_future()
    loop.call_soon_threadsafe(future.set_result, None)
    await future
    await loop.getaddrinfo("127.0.0.1", 80)
"""


@pytest.fixture(params=[pytest.param(kind, marks=has_own_types) for kind in KINDS])
def among_interpreters(request, ends):
    def among_interpreters(source, **outcome):
        text = (
            f"{WORK}\nKIND = {request.param!r}\n"
            f"SCRIPT = open(__file__).read().split('KIND =')[0]\n{INTERPRETERS}\n{source}"
        )
        ends(text, **outcome)

    return among_interpreters


def test_one_after_the_other(among_interpreters):
    among_interpreters("""
run(work())
for _ in range(3):
    interpreters.destroy(inside("run(work())"))
    run(work())
    """)


def test_several_at_once(among_interpreters):
    among_interpreters("""
run(work())
made = [inside("") for _ in range(3)]
for _ in range(2):
    for each in made:
        execute(each, "run(work())")
    run(work())
for each in made:
    interpreters.destroy(each)
    run(work())
    """)


def test_at_once_in_threads(among_interpreters):
    among_interpreters("""
failed = []
def in_thread():
    try:
        made = inside("run(work())")
        execute(made, "run(work())")
        interpreters.destroy(made)
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=in_thread) for _ in range(2)]
for thread in threads:
    thread.start()
run(work())
for thread in threads:
    thread.join()
assert not failed, failed
    """)


def test_one_that_only_the_process_ends(among_interpreters):
    among_interpreters('inside("run(work())")')


@pytest.mark.parametrize("then", ["", "interpreters.destroy(made)"])
def test_it_leaves_everything_open(among_interpreters, then):
    among_interpreters(f"""
made = inside('''
import builtins
async def main():
    builtins.kept = [await connection(), asyncio.create_task(asyncio.sleep(60)),
                     await asyncio.start_server(print, "127.0.0.1", 0),
                     asyncio.get_running_loop().call_later(60, print)]
loop = new_loop()
loop.run_until_complete(main())
''')
{then}
    """)


def test_the_main_one_is_left_first(among_interpreters):
    """Its module goes while another's is in use, in a loop that runs."""
    among_interpreters("""
import sys
made = inside("run(work())")
for name in [name for name in sys.modules if name.startswith("penstock")]:
    del sys.modules[name]
del new_loop
gc.collect()
execute(made, "run(work())")
interpreters.destroy(made)
    """)


def test_an_exception_out_of_one(among_interpreters):
    among_interpreters(
        """
made = create(KIND)
execute(made, SCRIPT)
try:
    execute(made, "run(asyncio.wait_for(asyncio.Event().wait(), 0.001))")
except BaseException as error:
    print("TimeoutError" in repr(error) or "TimeoutError" in str(error))
execute(made, "run(work())")
interpreters.destroy(made)
        """,
        output="True\n",
    )


def test_signals_are_the_main_ones(among_interpreters):
    among_interpreters(
        """
made = inside('''
async def main():
    try:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
    except RuntimeError as error:
        print(error, flush=True)
run(main())
''')
interpreters.destroy(made)
        """,
        output="set_wakeup_fd only works in main thread of the main interpreter\n",
    )


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio works there")
def test_what_does_not_work_is_told_in_a_line(start, finish):
    source = f"""
{INTERPRETERS}
made = create("shared")
execute(made, "import asyncio, penstock; penstock.run(asyncio.sleep(0.001, print('ran')))")
interpreters.destroy(made)
    """
    status, output, complaints = finish(start("penstock", source))
    (line,) = complaints
    assert (status, output) == (0, "ran\n")
    assert line.startswith("RuntimeWarning: penstock runs without its native Task: the layout of")
