"""StreamReader, StreamWriter and what makes them: asyncio's classes with native methods.

What is asyncio's own Python code and does not matter for speed (how a connection begins, TLS on top
of one, open_connection() and its like) is run as this CPython version has it, on our classes.
"""

from __future__ import annotations

import asyncio.events
import asyncio.streams
import sys
from asyncio.coroutines import iscoroutine
from asyncio.format_helpers import extract_stack
from types import CellType, CodeType, FunctionType
from typing import Any

from . import _core
from ._twin import Twin

_stock: Any = asyncio.streams
_default_loop: Any = getattr(asyncio.events, "_get_event_loop", asyncio.events.get_event_loop)


@_core.furnish
class StreamReader(asyncio.streams.StreamReader, metaclass=Twin):
    """asyncio.StreamReader: what a connection brings, to be awaited.

    Raises ValueError where `limit`, in bytes, is not above 0.
    """

    __slots__ = ("_native",)

    def __init__(self, limit: int = _stock._DEFAULT_LIMIT, loop: Any = None) -> None:
        if limit <= 0:
            raise ValueError("Limit cannot be <= 0")
        if loop is None:
            loop = _default_loop()
        self._native = _core.ReaderPart(self, limit, loop)
        if loop.get_debug():
            self._source_traceback = extract_stack(sys._getframe(1))


@_core.furnish
class StreamWriter(asyncio.streams.StreamWriter, metaclass=Twin):
    """asyncio.StreamWriter: writes to a connection; drain() waits where it does not keep up."""

    __slots__ = ("_native",)

    def __init__(self, transport: Any, protocol: Any, reader: Any, loop: Any) -> None:
        # drain() asks it for its exception.
        assert reader is None or isinstance(reader, _stock.StreamReader)
        self._native = _core.WriterPart(transport, protocol, reader, loop)


def _on_our_classes(function: Any) -> Any:
    """`function` of asyncio.streams, for which the classes are those of this module."""
    names = ("StreamReader", "StreamWriter", "StreamReaderProtocol")
    ours = {**function.__globals__, **{name: globals()[name] for name in names}}
    made = FunctionType(function.__code__, ours, function.__name__, function.__defaults__)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__doc__ = function.__doc__
    made.__qualname__ = function.__qualname__
    return made


@_core.furnish
class StreamReaderProtocol(asyncio.streams.StreamReaderProtocol, metaclass=Twin):
    """asyncio.StreamReaderProtocol: feeds a StreamReader, and may call back for a connection."""

    __slots__ = ("_native",)
    _reject_connection = False

    def __init__(
        self, stream_reader: Any, client_connected_cb: Any = None, loop: Any = None
    ) -> None:
        if loop is None:
            loop = _default_loop()
        self._native = _core.ReaderProtocolPart(self, stream_reader, client_connected_cb, loop)
        if stream_reader is not None and stream_reader._source_traceback is not None:
            self._source_traceback = stream_reader._source_traceback


_stock_connection_made = _on_our_classes(_stock.StreamReaderProtocol.connection_made)
# What asyncio's adds to the task of a handler: it closes over the protocol and the transport. None
# where this CPython version adds nothing, or something else.
_handled: CodeType | None = next(
    (
        code
        for code in _stock_connection_made.__code__.co_consts
        if isinstance(code, CodeType) and code.co_freevars == ("self", "transport")
    ),
    None,
)
_keeps_writer = "_stream_writer" in _stock_connection_made.__code__.co_names
_UNHANDLED = "Unhandled exception in client_connected_cb"
# Whether a plain function that raises is reported, as 3.14.10 began to: before, the transport's
# connection_made() reports it and the connection stays open.
_reports_function = _UNHANDLED in _stock_connection_made.__code__.co_consts


def _callback(protocol: Any, transport: Any) -> Any:
    """That function. It is six times as long as what stands for it while the handler runs."""
    assert _handled is not None
    cells = CellType(protocol), CellType(transport)
    return FunctionType(_handled, _stock_connection_made.__globals__, closure=cells)


def _connection_made(self: Any, transport: Any) -> None:
    if _handled is None or self._reject_connection or self._client_connected_cb is None:
        _stock_connection_made(self, transport)
        return
    self._transport = transport
    reader = self._stream_reader
    if reader is not None:
        reader.set_transport(transport)
    self._over_ssl = transport.get_extra_info("sslcontext") is not None
    writer = StreamWriter(transport, self, reader, self._loop)
    if _keeps_writer:
        self._stream_writer = writer
    try:
        handler = self._client_connected_cb(reader, writer)
    except Exception as error:
        if not _reports_function:
            raise
        self._loop.call_exception_handler(
            {"message": _UNHANDLED, "exception": error, "transport": transport}
        )
        transport.close()
        self._strong_reader = None
        return
    if iscoroutine(handler):
        self._task = task = self._loop.create_task(handler)
        if not _core.put_off_handler_callback(self, transport, task, _callback):
            task.add_done_callback(_callback(self, transport))
    self._strong_reader = None


for _name in ("connection_made", "_begin"):  # the latter is what a native transport calls
    setattr(StreamReaderProtocol, _name, _connection_made)

open_connection = _on_our_classes(_stock.open_connection)
start_server = _on_our_classes(_stock.start_server)
open_unix_connection = _on_our_classes(_stock.open_unix_connection)
start_unix_server = _on_our_classes(_stock.start_unix_server)

CLASSES = (StreamReader, StreamWriter, StreamReaderProtocol)
FUNCTIONS = (open_connection, start_server, open_unix_connection, start_unix_server)
