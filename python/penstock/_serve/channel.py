"""What a supervisor and a worker tell each other, as JSON over a pair of sockets.

SOCK_SEQPACKET keeps each message whole: nobody ever waits for the rest of one. When either end
dies, however it does, the other reads the end of the stream.
"""

from __future__ import annotations

import json
import socket
from typing import Any

_MOST = 1 << 18  # bytes of a message: above what the kernel lets one be sent with


class Channel:
    """One end. Neither send() nor receive() waits."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)

    def fileno(self) -> int:
        return self._end.fileno()

    def close(self) -> None:
        self._end.close()

    def send(self, kind: str, **content: Any) -> bool:
        """False where the other end is gone, or does not read."""
        try:
            self._end.send(json.dumps({"kind": kind, **content}).encode())
        except OSError:
            return False
        return True

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """The messages that have come, and whether more may."""
        messages: list[dict[str, Any]] = []
        while True:
            try:
                data = self._end.recv(_MOST)
            except BlockingIOError:
                return messages, True
            except OSError:
                return messages, False
            if not data:
                return messages, False
            messages.append(json.loads(data))
