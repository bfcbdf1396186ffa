"""Which scene leaves references: for an interpreter that counts all (`./dev refleaks`).

`--once` only plays the scenes that are named (`./dev valgrind`).

The scenes are those of tests/faults, with memory enough. Each is played a few times to fill what is
made once or kept for the next, then a few times more: what then grows each time is a leak.
"""

import array
import asyncio
import contextlib
import gc
import inspect
import logging
import sys

import penstock

from tests.faults.scenes import SCENES, SHORT

WARM_UP = 6
ROUNDS = 8


class Enough(contextlib.AbstractContextManager["Enough"]):
    """A shortage that is none."""

    error = None
    told = ("whatever is looked for",)

    def __exit__(self, *_):
        return None

    def expect(self, condition):
        pass

    def tell(self, what):
        pass


def install(_):
    penstock.install()
    try:
        asyncio.run(asyncio.sleep(0))
    finally:
        penstock.uninstall()


def play(body):
    short = Enough()
    SHORT[:] = [short]
    if inspect.iscoroutinefunction(body):
        loop = penstock.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        try:
            loop.run_until_complete(body(short))
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
    else:
        body(short)
    gc.collect()
    # It keeps names; from CPython 3.14 on each copy of one that a function of C looks up.
    sys._clear_type_cache()


def growth(body):
    """Of references and of allocated blocks, in each round."""
    for _ in range(WARM_UP):
        play(body)
    references, blocks = (array.array("q", [0] * (ROUNDS + 1)) for _ in range(2))
    for i in range(ROUNDS + 1):  # what is measured here takes no objects itself
        play(body)
        references[i] = sys.gettotalrefcount()
        blocks[i] = sys.getallocatedblocks()
    return [(references[i + 1] - references[i], blocks[i + 1] - blocks[i]) for i in range(ROUNDS)]


async def nothing(_):
    """What a loop takes by itself, which is said first and is no other scene's."""


def least(rounds):
    """What stays the same in one of the rounds, or goes down, was a cache."""
    return [min(each) for each in zip(*rounds, strict=True)]


def main():
    logging.disable()
    scenes = {**SCENES, "install": install}
    names = sys.argv[1:] or list(scenes)
    if names[0] == "--once":
        for name in names[1:]:
            play(scenes[name])
        return
    of_a_loop = least(growth(nothing))
    print(f"a loop takes {of_a_loop} (references, blocks)", flush=True)
    found = 0
    for name in names:
        more = [
            here - base for here, base in zip(least(growth(scenes[name])), of_a_loop, strict=True)
        ]
        if more[0] > 0:  # blocks alone may be what is cached
            found += 1
            print(f"{name} leaks {more} more a round", flush=True)
    print(f"{len(names)} scenes, {found} leak")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
