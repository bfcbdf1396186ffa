"""What a connection of streams may consist of."""

import subprocess
import sys
from pathlib import Path

import pytest
from penstock import _core, _streams

PARTS = {
    "builtins.coroutine",
    "penstock._core.Read",
    "penstock._core.ReaderPart",
    "penstock._core.ReaderProtocolPart",
    "penstock._core.SocketTransport",
    "penstock._core.Task",
    "penstock._core.WriterPart",
    "penstock._streams.StreamReader",
    "penstock._streams.StreamReaderProtocol",
    "penstock._streams.StreamWriter",
}
if not _streams._keeps_writer:  # from CPython 3.13 on: else the reader is seen through it
    PARTS.add("weakref.ReferenceType")
if sys.version_info >= (3, 15):  # a transport has a context of its own
    PARTS.add("_contextvars.Context")


@pytest.mark.skipif(not _core.native_task, reason=f"no native Task: {_core.why_stock_task}")
def test_an_idle_connection_holds_these_objects_once_each_and_no_others() -> None:
    program = Path(__file__).with_name("weight.py")
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, check=True, timeout=60
    )
    *rows, total = (line.split() for line in done.stdout.splitlines())
    assert not done.stderr
    found = {name: int(number) for _, number, name in rows}
    assert found.keys() == PARTS
    assert set(found.values()) == {1}
    assert int(total[0]) == sum(int(weight) for weight, _, _ in rows) < 1600
