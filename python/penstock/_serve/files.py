"""Files that responses send: the extensions http.response.pathsend and .zerocopysend."""

from __future__ import annotations

import os
import stat
from typing import Any, BinaryIO


def open_file(message: dict[str, Any]) -> tuple[BinaryIO, int, int, bool]:
    """(file, offset, count, whether more follows) of a message.

    Raises OSError where it can't be read, and ValueError for what is no regular file or lies beyond
    its end.
    """
    if message["type"] == "http.response.pathsend":
        file = open(message["path"], "rb")  # noqa: SIM115 -- until it is sent
        try:
            return file, 0, _size(file), False
        except ValueError:
            file.close()
            raise
    file = message["file"]
    if isinstance(file, int):
        file = os.fdopen(os.dup(file), "rb")
    offset = message.get("offset")
    if offset is None:
        offset = file.tell()
    count = message.get("count")
    left = _size(file) - offset
    if count is None:
        count = left
    if offset < 0 or count < 0 or count > left:
        raise ValueError(f"the file has no {count} bytes from {offset} on")
    return file, offset, count, bool(message.get("more_body", False))


def _size(file: BinaryIO) -> int:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{getattr(file, 'name', file)} is no regular file")
    return status.st_size
