"""A directory for sockets' files, and no fd left behind."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def path():
    """A path that nothing is at, short enough for an address (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="unix") as directory:
        yield str(Path(directory, "socket"))
