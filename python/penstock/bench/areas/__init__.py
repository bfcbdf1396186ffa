"""What is measured: a file each, whose measure(rounds) gives the tables."""

import importlib
from typing import Protocol, cast

from ..rounds import Rounds, Table

NAMES = (
    "scheduling",
    "echo",
    "streams",
    "sock",
    "tls",
    "http",
    "udp",
    "subprocess",
    "memory",
    "dns",
    "startup",
)


class Area(Protocol):
    def measure(self, rounds: Rounds) -> list[Table]: ...


def area(name: str) -> Area:
    return cast(Area, importlib.import_module(f".{name}", __package__))
