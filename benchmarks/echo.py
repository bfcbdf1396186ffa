"""An echo server on loopback, over TCP and UDP: what a message costs it, and how long clients wait.

`echo.py serve LOOP API` is the server, `echo.py load API PORT PID SIZE SECONDS` the client in
another process on another core: plain Python with plain sockets, the same for every loop. It first
keeps CONNECTIONS connections busy and takes the server's CPU time from its process clock, then asks
on a single one, the others idle, and takes the time from question to answer.
"""

import asyncio
import json
import select
import socket
import subprocess
import sys
import time
from typing import cast

import loops
from rounds import Table, in_turns, measured

CONNECTIONS = 16
WARM_UP = 0.2

SIZES = {1024: "1 KiB", 65536: "64 KiB"}
APIS = ("protocol", "streams", "sock_*")
CASES = [(api, size) for size in SIZES for api in APIS] + [("datagrams", 1024)]


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are not instances of it.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def datagrams() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(DatagramEcho, sock=sock)
    await loop.create_future()


async def streams(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def sock(listener: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
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


async def serve() -> None:
    """Print the port, then serve until killed."""
    loops.pin(0)
    api = sys.argv[3]
    if api == "datagrams":
        return await datagrams()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    if api == "protocol":
        loop = asyncio.get_running_loop()
        await (await loop.create_server(Echo, sock=listener)).serve_forever()
    elif api == "streams":
        await (await asyncio.start_server(streams, sock=listener)).serve_forever()
    else:
        await sock(listener)


def cpu_clock(pid: int) -> int:
    """The clock of another process's CPU time, made as clock_getcpuclockid(3) makes it."""
    return ~pid << 3 | 2


def receive(connection: socket.socket, buffer: memoryview) -> None:
    """Fill the buffer."""
    while buffer:
        got = connection.recv_into(buffer)
        if not got:
            raise ConnectionError("the server has hung up")
        buffer = buffer[got:]


def keep_busy(held: list[socket.socket], message: bytes, seconds: float) -> int:
    """Echo on all connections at once for a while; how many answers came.

    An answer of many segments is awaited where its first is seen: the others still come in.
    """
    buffer = memoryview(bytearray(len(message)))
    by_number = {connection.fileno(): connection for connection in held}
    answers = 0
    with select.epoll() as epoll:
        for connection in held:
            epoll.register(connection, select.EPOLLIN)
            connection.sendall(message)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for number, _ in epoll.poll():
                connection = by_number[number]
                receive(connection, buffer)
                connection.sendall(message)
                answers += 1
    for connection in held:
        receive(connection, buffer)
    assert buffer == message
    return answers + len(held)


def round_trips(connection: socket.socket, message: bytes, seconds: float) -> list[float]:
    """Microseconds from question to answer, sorted."""
    buffer = memoryview(bytearray(len(message)))
    found = []
    now = time.perf_counter()
    until = now + seconds
    while now < until:
        connection.sendall(message)
        receive(connection, buffer)
        before, now = now, time.perf_counter()
        found.append((now - before) * 1e6)
    return sorted(found)


def connected(port: int, kind: int) -> socket.socket:
    connection = socket.socket(socket.AF_INET, kind)
    connection.connect(("127.0.0.1", port))
    connection.settimeout(10)
    if kind == socket.SOCK_STREAM:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def load(api: str, port: int, pid: int, size: int, seconds: float) -> dict[str, float]:
    loops.pin(-1)
    kind = socket.SOCK_DGRAM if api == "datagrams" else socket.SOCK_STREAM
    clock = cpu_clock(pid)
    message = bytes(range(256)) * (size // 256)
    held = [connected(port, kind) for _ in range(CONNECTIONS)]
    keep_busy(held, message, WARM_UP)
    begin = time.clock_gettime_ns(clock)
    answers = keep_busy(held, message, seconds)
    spent = (time.clock_gettime_ns(clock) - begin) / 1000
    waits = round_trips(held[0], message, seconds)
    return {
        "cpu": spent / answers,
        "p50": waits[len(waits) // 2],
        "p99": waits[len(waits) * 99 // 100],
    }


def measure(rounds: int, quick: bool) -> list[Table]:
    """A table a figure of load()."""
    tables = {
        "cpu": Table("Echo, the server's CPU time", "µs a message"),
        "p50": Table("Echo, latency at the median", "µs from question to answer"),
        "p99": Table("Echo, latency at the 99th percentile", "µs from question to answer"),
    }

    def one(case: tuple[str, int], loop: str) -> None:
        api, size = case
        command = [sys.executable, __file__, "serve", loop, api]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout
                port = int(server.stdout.readline())
                seconds = 0.1 if quick else 0.8
                found = measured(__file__, "load", api, port, server.pid, size, seconds)
            finally:
                server.kill()
        for figure, table in tables.items():
            table.add(f"{api}, {SIZES[size]}", loop, found[figure])

    in_turns(CASES, rounds, one)
    return list(tables.values())


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        loops.run(sys.argv[2], serve)
    else:
        port, pid, size = map(int, sys.argv[3:6])
        print(json.dumps(load(sys.argv[2], port, pid, size, float(sys.argv[6]))))
