"""connect_read_pipe and connect_write_pipe; the transports are native.

Source: CPython 3.15, Doc/library/asyncio-eventloop.rst, "Working with pipes".
"""

from __future__ import annotations

import asyncio
from asyncio.log import logger
from collections.abc import Callable
from typing import Any, TypeVar

from ._base import LoopBase

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


class Pipes(LoopBase):
    async def connect_read_pipe(
        self, protocol_factory: Callable[[], _P], pipe: Any
    ) -> tuple[asyncio.ReadTransport, _P]:
        """Read a pipe: the transport and the protocol, after its connection_made().

        `pipe` is a file object over a pipe, a FIFO, a socket or a character device, such as a
        terminal. It becomes non-blocking, and the transport closes it. Raises ValueError for any
        other file.
        """
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport = self._make_read_pipe_transport(pipe, protocol, waiter)
        try:
            await waiter
        except BaseException:
            self._abandon(transport)
            raise
        if self.get_debug():
            logger.debug("Read pipe %r connected: (%r, %r)", pipe.fileno(), transport, protocol)
        return transport, protocol

    async def connect_write_pipe(
        self, protocol_factory: Callable[[], _P], pipe: Any
    ) -> tuple[asyncio.WriteTransport, _P]:
        """Write a pipe: as connect_read_pipe().

        Of a pipe, a FIFO or a socket the end of its reader is noticed: the transport is lost then,
        with BrokenPipeError where bytes were still queued.
        """
        protocol = protocol_factory()
        waiter: asyncio.Future[None] = self.create_future()
        transport = self._make_write_pipe_transport(pipe, protocol, waiter)
        try:
            await waiter
        except BaseException:
            self._abandon(transport)
            raise
        if self.get_debug():
            logger.debug("Write pipe %r connected: (%r, %r)", pipe.fileno(), transport, protocol)
        return transport, protocol
