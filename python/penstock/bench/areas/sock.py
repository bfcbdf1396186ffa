"""An echo server without transports: loop.sock_accept(), sock_recv(), sock_sendall()."""

import asyncio
import socket

from .. import serving
from ..rounds import Rounds, Table
from ..serving import Case


def server(peer: str, api: str) -> None:
    serving.serve(peer, main)


async def main() -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    tasks = set()

    async def answer(connection: socket.socket) -> None:
        with connection:
            while data := await loop.sock_recv(connection, 65536):
                await loop.sock_sendall(connection, data)

    while True:
        connection, _ = await loop.sock_accept(listener)
        # What the transports of all loops do.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tasks.add(task := asyncio.create_task(answer(connection)))
        task.add_done_callback(tasks.discard)


def measure(rounds: Rounds) -> list[Table]:
    table = Table("Echo of sock_*()", serving.FIGURES)
    serving.measure(rounds, table, server, [Case("", size) for size in serving.SIZES])
    return [table]
