"""A directory for sockets' files, and no fd left behind."""

import gc
import os
import tempfile
from pathlib import Path

import pytest


def open_fds():
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
    assert open_fds() == before, "descriptors differ after the test"


@pytest.fixture
def fds():
    return open_fds


@pytest.fixture
def path():
    """A path that nothing is at, short enough for an address (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="unix") as directory:
        yield str(Path(directory, "socket"))
