"""The calls that are cancelled, by family; importing a module puts them into the table."""

from . import connections, servers, sockets, streams, threads

MODULES = [connections, servers, sockets, streams, threads]
