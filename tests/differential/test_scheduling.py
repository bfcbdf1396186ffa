"""The same play on asyncio and on penstock is told in the same words and in the same order.

PENSTOCK_PLAYS=5000 plays more of them; PENSTOCK_SEED=n begins there.
"""

import asyncio
import os
import sys

import penstock
import pytest

from .play import Play

PLAYS = int(os.environ.get("PENSTOCK_PLAYS", "400"))
FIRST = int(os.environ.get("PENSTOCK_SEED", "0"))


def told(new_loop, *play):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(Play(*play).run())


@pytest.fixture(params=["as it is", "installed"])
def install(request):
    if request.param == "as it is":
        yield lambda: None, lambda: None
    else:
        yield penstock.install, penstock.uninstall


@pytest.mark.parametrize("is_eager", [False, True], ids=["lazy", "eager"])
def test_plays(install, is_eager):
    if is_eager and sys.version_info < (3, 12):
        pytest.skip("asyncio.eager_task_factory came with 3.12")
    install, uninstall = install
    for seed in range(FIRST, FIRST + PLAYS):
        expected = told(asyncio.unix_events._UnixSelectorEventLoop, seed, is_eager)
        install()
        try:
            actual = told(penstock.new_event_loop, seed, is_eager)
        finally:
            uninstall()
        assert actual == expected, f"PENSTOCK_SEED={seed} PENSTOCK_PLAYS=1"
