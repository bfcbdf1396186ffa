import gc
import os
import socket

import pytest


def open_fds():
    """What every descriptor of this process refers to."""
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass  # the descriptor of the listing itself
    return fds


@pytest.fixture(autouse=True)
def _no_fd_is_left():
    before = open_fds()
    yield
    gc.collect()
    after = open_fds()
    assert after == before, "descriptors differ after the test"


@pytest.fixture
def fds():
    return open_fds


@pytest.fixture
def listening():
    """A socket that listens on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
def pair():
    """Two connected non-blocking sockets."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def unused_port():
    """A port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]
