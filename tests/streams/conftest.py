"""`streams` is where the classes come from: asyncio's own, or penstock's; both on each loop."""

import asyncio.streams
from types import SimpleNamespace

import penstock
import pytest

NAMES = (
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
)
STOCK = {name: getattr(asyncio.streams, name) for name in NAMES}
NATIVE = {name: getattr(penstock, name) for name in NAMES}


@pytest.fixture(params=["stock", "native"])
def streams(request):
    return SimpleNamespace(**(STOCK if request.param == "stock" else NATIVE))


@pytest.fixture
def reader(streams):
    """A reader without a transport, of the running loop."""

    def make(limit=2**16):
        return streams.StreamReader(limit=limit, loop=asyncio.get_running_loop())

    return make
