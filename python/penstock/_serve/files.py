"""Files that responses send: the extensions http.response.pathsend and .zerocopysend."""

from __future__ import annotations

import io
import os
import stat
from typing import Any


class _Opened(io.FileIO):
    """Closed once nobody has it: when it is sent, or the sending has been cut off."""

    def __del__(self) -> None:
        self.close()


def open_file(message: dict[str, Any]) -> tuple[Any, int, int, bool]:
    """(file, offset, count, whether more follows) of a message.

    Raises OSError where it can't be read, and ValueError for what is no regular file or lies beyond
    its end.
    """
    if message["type"] == "http.response.pathsend":
        file = _Opened(message["path"])
        try:
            return file, 0, _size(file.fileno(), message["path"]), False
        except ValueError:
            file.close()
            raise
    file = message["file"]
    if isinstance(file, int):
        size = _size(file, f"descriptor {file}")  # of a folder FileIO would leave the copy open
        file = _Opened(os.dup(file))
    else:
        size = _size(file.fileno(), getattr(file, "name", file))
    offset = message.get("offset")
    if offset is None:
        offset = file.tell()
    count = message.get("count")
    left = size - offset
    if count is None:
        count = left
    if offset < 0 or count < 0 or count > left:
        raise ValueError(f"the file has no {count} bytes from {offset} on")
    return file, offset, count, bool(message.get("more_body", False))


def _size(descriptor: int, name: object) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{name} is no regular file")
    return status.st_size
