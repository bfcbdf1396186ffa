"""The ends of a connection are told the same on asyncio and on penstock, in the same order.

PENSTOCK_PLAYS=5000 plays more of them; PENSTOCK_SEED=n begins there. What the plays leave out,
since asyncio fails of it, is in docs/compatibility.md.
"""

import asyncio
import os
import socket

import penstock
import pytest

from . import connection, streams

PLAYS = int(os.environ.get("PENSTOCK_PLAYS", "100"))
FIRST = int(os.environ.get("PENSTOCK_SEED", "0"))
# What is sent by TCP may arrive a moment later where the kernel is busy.
ATTEMPTS = {"unix": 1, "tcp": 4, "tls": 1}


def told(new_loop, play, *args):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(play(*args).run())


def told_installed(play, *args):
    penstock.install()
    try:
        return told(penstock.new_event_loop, play, *args)
    finally:
        penstock.uninstall()


def told_beside(play, *args):
    return told(penstock.new_event_loop, play, *args)


@pytest.mark.parametrize(
    ("play", "link", "told_by_penstock"),
    [
        (connection.Play, "unix", told_beside),
        (connection.Play, "tcp", told_beside),
        (connection.Play, "tls", told_beside),
        (streams.Play, "unix", told_beside),
        (streams.Play, "tls", told_beside),
        (streams.Play, "unix", told_installed),
        (streams.Play, "tls", told_installed),
    ],
)
def test_plays(play, link, told_by_penstock):
    for seed in range(FIRST, FIRST + PLAYS):
        for _ in range(ATTEMPTS[link]):
            expected = told(asyncio.unix_events._UnixSelectorEventLoop, play, seed, link)
            actual = told_by_penstock(play, seed, link)
            if actual == expected:
                break
        assert actual == expected, f"PENSTOCK_SEED={seed} PENSTOCK_PLAYS=1"


async def test_connect_that_is_cancelled():
    """Under way, since the server's backlog is full; and what came of it is closed."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = socket.create_connection(full.getsockname())
        connecting = asyncio.create_task(
            loop.create_connection(asyncio.Protocol, *full.getsockname())
        )
        for _ in range(20):
            await asyncio.sleep(0)
        assert not connecting.done()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        waiting.close()
