"""The listening sockets of a server with workers: who binds them, and which worker has which.

Each slot has its own, in one SO_REUSEPORT group: the kernel spreads connections over them. The
supervisor holds them all and never closes one, for closing resets the connections in its queue. A
Unix socket, and what was inherited, is one that all workers share.
"""

from __future__ import annotations

import os
import socket

from . import server
from .config import Config, ServerError


class Listeners:
    """Raises ServerError where a socket can't be had."""

    def __init__(self, config: Config, slots: int) -> None:
        self._slots: list[list[socket.socket]] = []
        self._is_shared = False
        first = server.listen(config)
        is_tcp = all(each.family in (socket.AF_INET, socket.AF_INET6) for each in first)
        # What is inherited can't get siblings: whoever made it has not asked for SO_REUSEPORT.
        self._is_shared = not is_tcp or any(_is_listening(each) for each in first)
        self._slots.append(first)
        if not self._is_shared:
            for each in first:
                # Only now: before, it would have joined another server's group unnoticed.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self.extend(slots)

    @property
    def first(self) -> list[socket.socket]:
        """One of each address."""
        return self._slots[0]

    @property
    def is_shared(self) -> bool:
        """Whether all workers have the same."""
        return self._is_shared

    def extend(self, slots: int) -> None:
        """Have sockets for so many slots, at the least."""
        while not self._is_shared and len(self._slots) < slots:
            self._slots.append([_sibling(each) for each in self.first])

    def of(self, slot: int, slots: int) -> list[socket.socket]:
        """Those of one of so many slots. Where there were more slots once, theirs have a taker."""
        if self._is_shared:
            return self.first
        mine = [
            n for n in range(len(self._slots)) if n == slot or (n >= slots and n % slots == slot)
        ]
        return [each for n in mine for each in self._slots[n]]

    def close(self) -> None:
        """The server ends."""
        for each in self._slots:
            for one in each:
                one.close()


def _is_listening(each: socket.socket) -> bool:
    return bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _sibling(first: socket.socket) -> socket.socket:
    address = first.getsockname()
    try:
        return server.bound(first.family, first.type, first.proto, address, reuse_port=True)
    except OSError as error:
        raise ServerError(
            f"can't listen on {address[0]} port {address[1]} once more: "
            f"{os.strerror(error.errno or 0)}"
        ) from None
