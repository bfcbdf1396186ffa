"""What systemd passes to a service, and is told by it: sd_listen_fds(3), sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time

_FIRST = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def listen_fds() -> list[int]:
    """The descriptors that were passed to this process: to be asked once.

    They, and the variables that tell of them, are not inherited by its children.
    """
    found = {name: os.environ.pop(name, "") for name in _VARIABLES}
    try:
        is_ours = int(found["LISTEN_PID"]) == os.getpid()
        count = int(found["LISTEN_FDS"]) if is_ours else 0
    except ValueError:
        return []
    fds = list(range(_FIRST, _FIRST + count))
    for fd in fds:
        os.set_inheritable(fd, False)
    return fds


def notify(*states: str) -> None:
    """Tell systemd, where it has started this and wants to know."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto("\n".join(states).encode(), address)
        except OSError:
            pass  # it has gone, and nothing depends on it


def notify_reloading() -> None:
    """READY=1 has to follow."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
