"""Each allocation of the native half refused, alone or with what follows: shortage.cc, scenes.py.

A sample that a seed decides; with PENSTOCK_FAULTS=all every one.
"""

import os

import pytest

from tests.faults import shortage
from tests.faults.scenes import SCENES
from tests.faults.sweep import compiler

SAMPLES = 0 if os.environ.get("PENSTOCK_FAULTS") == "all" else 24  # a scene; 10 ms each

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler for the shortage")


@pytest.mark.parametrize("scene", SCENES)
def test_a_refused_allocation_loses_nothing(scene):
    total, found = shortage.wrong(scene, SAMPLES)
    assert total > 0, found
    assert not found


# What was wrong once.
@pytest.mark.parametrize(
    ("scene", "kept"),
    [
        ("unix", "the path of a peer found no room, and the process was ended"),
        ("a_connection", "a protocol heard of a connection that never began to read"),
        ("a_process", "the pipes of a process that nobody got stayed open"),
        ("a_loop", "it was epoll_ctl() that had no memory"),
        ("many_descriptors", "it was epoll_ctl() that had no memory"),
        ("timeouts", "a coroutine's result found no room on its way out of throw()"),
        ("a_resolver", "it was a thread that could not be started"),
    ],
)
def test_found_by_the_sweep(scene, kept):
    _, found = shortage.wrong(scene)
    assert not found, kept
