"""Many idle connections on one loop, which then all speak. The clients are a process of their own.

Each side needs a file descriptor a connection: see `ulimit -n`.
"""

import asyncio
import multiprocessing
import socket
import sys
import time
from multiprocessing.connection import Connection


def clients(port: int, count: int, control: Connection) -> None:
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    control.send("connected")
    control.recv()
    for number, connection in enumerate(connections):
        connection.sendall(b"%d\n" % number)
    right = sum(
        connection.recv(64) == b"you are %d\n" % number
        for number, connection in enumerate(connections)
    )
    control.send(right)
    for connection in connections:
        connection.close()


async def main(count: int) -> None:
    arrived = left = 0
    all_arrived, all_left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived, left
        arrived += 1
        if arrived == count:
            all_arrived.set()
        while line := await reader.readline():
            writer.write(b"you are " + line)
        writer.close()
        await writer.wait_closed()
        left += 1
        if left == count:
            all_left.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    control, theirs = spawn.Pipe()
    process = spawn.Process(target=clients, args=(port, count, theirs))
    process.start()
    theirs.close()

    await all_arrived.wait()
    await asyncio.to_thread(control.recv)
    print(f"{arrived} connections, all idle")
    await asyncio.sleep(0.5)

    started = time.perf_counter()
    control.send("speak")
    right = await asyncio.to_thread(control.recv)
    print(f"{right} have spoken and got their answer in {time.perf_counter() - started:.2f} s")

    await all_left.wait()
    server.close()
    await asyncio.to_thread(process.join)
    print(f"{left} connections closed")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
