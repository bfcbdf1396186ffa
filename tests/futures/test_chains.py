"""Objects that hold one another in chains of any length are freed without recursion."""

import asyncio
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, gc, warnings
import penstock
from penstock import _core

warnings.simplefilter("ignore")
LENGTH = 300_000
loop = penstock.new_event_loop()

def results(new_future):
    link = None
    for _ in range(LENGTH):
        future = new_future()
        future.set_result(link)
        link = future
    return link

class Subclass(penstock.Future):
    pass

async def give(link):
    return link

async def wait(link):
    await link

{build}
del link
loop.close()
gc.collect()
print("freed")
"""

CHAINS = {
    "futures by their results": "link = results(loop.create_future)",
    "futures of a subclass": "link = results(lambda: Subclass(loop=loop))",
    "futures by their callbacks": """
link = loop.create_future()
for _ in range(LENGTH):
    future = loop.create_future()
    future.add_done_callback(link.set_result)
    link = future
del future
""",
    "iterators": """
link = None
for _ in range(LENGTH):
    future = loop.create_future()
    future.set_result(link)
    link = iter(future)
del future
""",
    "sleeps": """
link = None
for _ in range(LENGTH):
    link = _core.sleep(0, link)
""",
    # Of the last only, which the loop lets go last, is nothing else left.
    "timers": """
link = None
for number in range(LENGTH):
    link = loop.call_later(1000 + number, print, link)
""",
    "tasks by their results": """
async def main():
    link = None
    for _ in range(LENGTH // 3):
        link = asyncio.create_task(give(link))
        await link
    return link
link = loop.run_until_complete(main())
""",
    "tasks that wait for one another": """
async def main():
    link = loop.create_future()
    for _ in range(LENGTH // 30):
        link = asyncio.create_task(wait(link))
        link._log_destroy_pending = False
        await asyncio.sleep(0)
    return link
link = loop.run_until_complete(main())
""",
}


@pytest.mark.parametrize("build", CHAINS.values(), ids=CHAINS)
def test_a_long_chain_is_freed(build):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{build}", build)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("freed\n", "", 0)


def test_a_chain_of_callbacks_fires_without_recursion(loop):
    first = future = loop.create_future()
    for _ in range(100_000):
        following = loop.create_future()
        future.add_done_callback(lambda done, target=following: target.set_result(done.result()))
        future = following
    first.set_result("at the end")
    assert loop.run_until_complete(future) == "at the end"


async def test_an_iterator_that_is_driven_by_hand_ends_with_the_result():
    future = asyncio.get_running_loop().create_future()
    steps = iter(future)
    assert next(steps) is future
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        next(steps)
    future.set_result(7)
    with pytest.raises(StopIteration) as stopped:
        next(steps)
    assert stopped.value.value == 7
