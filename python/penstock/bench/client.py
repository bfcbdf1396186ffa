"""The client of every server: plain Python with plain blocking sockets, in a process of its own.

It first keeps CONNECTIONS connections busy, and takes how many messages come back and the server's
CPU time from its process clock; then it asks on a single one, the others idle, and takes the time
from question to answer.
"""

import select
import socket
import ssl
import time

from .process import pin
from .rounds import percentiles

CONNECTIONS = 16
SECONDS_TO_WARM_UP = 0.15
PATIENCE = 10.0


def cpu_clock(pid: int) -> int:
    """The clock of another process's CPU time, made as clock_getcpuclockid(3) makes it."""
    return ~pid << 3 | 2


def trusting(certificate: str) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=certificate) if certificate else None


def connected(port: int, kind: str, context: ssl.SSLContext | None) -> socket.socket:
    datagrams = kind == "datagrams"
    connection = socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
    )
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port))
    if not datagrams:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        return connection
    return context.wrap_socket(connection, server_hostname="localhost")


def receive(connection: socket.socket, buffer: memoryview) -> None:
    """Fill the buffer."""
    while buffer:
        got = connection.recv_into(buffer)
        if not got:
            raise ConnectionError("the server has hung up")
        buffer = buffer[got:]


def keep_busy(held: list[socket.socket], message: bytes, seconds: float, size: int = 0) -> int:
    """Ask on all connections at once for a while; how many answers came.

    An answer has `size` bytes, or is the message. One of many segments is awaited where its first
    is seen: the others still come in.
    """
    buffer = memoryview(bytearray(size or len(message)))
    by_number = {connection.fileno(): connection for connection in held}
    answers = 0
    with select.epoll() as epoll:
        for connection in held:
            epoll.register(connection, select.EPOLLIN)
            connection.sendall(message)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            events = epoll.poll(PATIENCE)
            if not events:
                raise ConnectionError("the server has fallen silent")
            for number, _ in events:
                connection = by_number[number]
                receive(connection, buffer)
                connection.sendall(message)
                answers += 1
    for connection in held:
        receive(connection, buffer)
    assert size or buffer == message
    return answers + len(held)


def round_trips(
    connection: socket.socket, message: bytes, count: int, size: int = 0
) -> list[float]:
    """Seconds from question to answer, which has `size` bytes, or is the message."""
    buffer = memoryview(bytearray(size or len(message)))
    found = []
    now = time.perf_counter()
    for _ in range(count):
        connection.sendall(message)
        receive(connection, buffer)
        before, now = now, time.perf_counter()
        found.append(now - before)
    return found


def figures(
    held: list[socket.socket],
    message: bytes,
    clock: int,
    seconds: float,
    questions: int,
    size: int = 0,
) -> dict[str, float]:
    """Of a server whose CPU time `clock` tells; an answer has `size` bytes, or is the message."""
    keep_busy(held, message, SECONDS_TO_WARM_UP, size)
    begin, cpu = time.perf_counter(), time.clock_gettime_ns(clock)
    answers = keep_busy(held, message, seconds, size)
    spent = (time.clock_gettime_ns(clock) - cpu) / 1000
    rate = answers / (time.perf_counter() - begin)
    waits = round_trips(held[0], message, questions, size)
    return {"rate": rate, "cpu": spent / answers, **percentiles(waits)}


def load(
    port: int,
    pid: int,
    kind: str,
    size: int,
    seconds: float,
    questions: int,
    certificate: str = "",
) -> dict[str, float]:
    """Messages of so many bytes, each a line, which come back as they are."""
    pin(-1)
    context = trusting(certificate)
    clock = cpu_clock(pid)
    message = b"x" * (size - 1) + b"\n"
    held = [connected(port, kind, context) for _ in range(CONNECTIONS)]
    return figures(held, message, clock, seconds, questions)


def response_to(connection: socket.socket, request: bytes) -> bytes:
    """The whole response to a request, which has a Content-Length or chunks."""
    connection.sendall(request)
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(lines.get(b"content-length", -1))
    while len(body) < length if length >= 0 else not body.endswith(b"\r\n0\r\n\r\n"):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def requests(
    port: int, pid: int, request: str, answer: str, seconds: float, questions: int
) -> dict[str, float]:
    """HTTP requests, all the same, whose responses all have the same size and end in `answer`."""
    pin(-1)
    clock = cpu_clock(pid)
    message = request.encode()
    held = [connected(port, "stream", None) for _ in range(CONNECTIONS)]
    first = [response_to(connection, message) for connection in held]
    assert first[0].startswith(b"HTTP/1.1 200 "), first[0]
    assert first[0].rstrip(b"0\r\n").endswith(answer.encode()), first[0][-100:]
    size = len(first[0])
    return figures(held, message, clock, seconds, questions, size)


def handshakes(port: int, pid: int, count: int, certificate: str) -> dict[str, float]:
    """TLS connections, one after the other, each closed as soon as it is made."""
    pin(-1)
    context = trusting(certificate)
    clock = cpu_clock(pid)
    connected(port, "stream", context).close()
    waits = []
    begin, cpu = time.perf_counter(), time.clock_gettime_ns(clock)
    for _ in range(count):
        before = time.perf_counter()
        connection = connected(port, "stream", context)
        waits.append(time.perf_counter() - before)
        connection.close()
    spent = (time.clock_gettime_ns(clock) - cpu) / 1000
    rate = count / (time.perf_counter() - begin)
    return {"rate": rate, "cpu": spent / count, **percentiles(waits)}
