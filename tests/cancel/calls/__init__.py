"""The calls that are cancelled, by family; importing a module puts them into the table."""

from . import (
    connections,
    datagrams,
    files,
    pipes,
    processes,
    servers,
    sockets,
    streams,
    threads,
    tls,
    unix,
)

MODULES = [
    connections,
    datagrams,
    files,
    pipes,
    processes,
    servers,
    sockets,
    streams,
    threads,
    tls,
    unix,
]
