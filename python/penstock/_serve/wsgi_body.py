"""The body of a request to a WSGI application: what is awaited of it before there is a thread, and
its wsgi.input.

Threads are few, and slow clients many. So at most half of the threads are for calls whose body
still comes, which read it as it does. Where those are taken a call gets a thread once all of its
body is there; meanwhile that is kept in a Spool. And where spools have as much as they may, no more
is read until one of the half is free.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import IO

SHORT = 64 * 1024  # bytes of a body that are kept in memory
_BLOCK = 64 * 1024  # bytes of a file that are read at once


class Bodies:
    """Those of a server: how many threads may wait for one, and how much is kept in files."""

    def __init__(self, threads: int, most_kept: int) -> None:
        self._most_waiting = threads // 2  # with one thread there is none to spare
        self._free = asyncio.Semaphore(self._most_waiting)
        self._most_kept = most_kept
        self.kept = 0

    @property
    def is_full(self) -> bool:
        return self.kept >= self._most_kept

    async def may_wait(self, *, at_once: bool) -> bool:
        """Whether a thread may wait for a body, which release() then ends."""
        if self._free.locked() and (at_once or self._most_waiting == 0):
            return False
        await self._free.acquire()
        return True

    def release(self) -> None:
        self._free.release()


class Spool:
    """What has come of a body, in that order: in memory, and beyond SHORT in a file."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._taken = 0  # of the file
        self._behind: list[bytes] = []  # the file, where that takes no more
        self.in_file = 0

    @property
    def is_in_file(self) -> bool:
        """What comes now goes there."""
        return self._in_memory >= SHORT

    @property
    def is_full(self) -> bool:
        """There is no place for more: the disk is full, or descriptors have run out."""
        return bool(self._behind)

    def add(self, piece: bytes) -> None:
        self._in_memory += len(piece)
        if self._in_memory <= SHORT:
            self._pieces.append(piece)
            return
        rest = memoryview(piece)
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            while rest:
                count = os.pwrite(self._file.fileno(), rest, self.in_file)
                self.in_file += count
                rest = rest[count:]
        except OSError:
            self._behind.append(bytes(rest))

    def take(self) -> bytes:
        """The next piece, once nothing more is added; b"" at the end."""
        if self._pieces:
            pieces, self._pieces = self._pieces, []
        elif self._file is not None and self._taken < self.in_file:
            pieces = [os.pread(self._file.fileno(), _BLOCK, self._taken)]
            self._taken += len(pieces[0])
        else:
            pieces, self._behind = self._behind, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Input:
    """wsgi.input. Of the application's thread; `more()` waits for bytes, and has none at the end.

    Raises ConnectionResetError where the client goes before its body's end.
    """

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._rest = bytearray()

    def read(self, size: int | None = -1) -> bytes:
        """`size` bytes, fewer at the end; without it, all of them."""
        rest = self._rest
        wanted = sys.maxsize if size is None or size < 0 else size
        while len(rest) < wanted:
            if not (piece := self._more()):
                break
            rest += piece
        return self._take(min(wanted, len(rest)))

    def readline(self, size: int | None = -1) -> bytes:
        """Up to the next line feed, the end, or `size` bytes."""
        rest = self._rest
        wanted = sys.maxsize if size is None or size < 0 else size
        looked_at = 0
        while (found := rest.find(b"\n", looked_at, wanted)) < 0 and len(rest) < wanted:
            looked_at = len(rest)
            if not (piece := self._more()):
                break
            rest += piece
        return self._take(min(wanted, len(rest)) if found < 0 else found + 1)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """Lines until there are no more, or `hint` bytes of them."""
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _take(self, count: int) -> bytes:
        rest = self._rest
        taken = bytes(rest) if count == len(rest) else bytes(rest[:count])
        del rest[:count]
        return taken
