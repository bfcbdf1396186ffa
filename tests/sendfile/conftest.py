import asyncio
import io
import socket
import sys

import penstock
import pytest

# More than the socket buffers of both ends hold, and no multiple of any block.
SIZE = 3 * 1024 * 1024 + 7


@pytest.fixture(scope="session")
def content():
    return b"".join(b"%07d\n" % i for i in range(SIZE // 8)) + b"theend\n"


@pytest.fixture
def file(content, tmp_path):
    path = tmp_path / "content"
    path.write_bytes(content)
    with path.open("rb") as opened:
        yield opened


class InMemory(io.BytesIO):
    """No file of the kernel's: it has to be read."""


@pytest.fixture(params=["kernel", "fallback"])
def source(request, file, content, new_loop):
    """A file that os.sendfile() takes, and one that it doesn't."""
    is_asyncio = new_loop is not penstock.new_event_loop
    if request.param == "fallback" and is_asyncio and sys.version_info >= (3, 12):
        pytest.skip("asyncio queues views of the memory that it reads the file into")
    return file if request.param == "kernel" else InMemory(content)


@pytest.fixture
def pair():
    """Two connected sockets with small buffers: the first doesn't block, the second does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    near.setblocking(False)
    far.settimeout(20)
    with near, far:
        yield near, far


def receive_now(sock, size):
    received = bytearray()
    while size is None or len(received) < size:
        piece = sock.recv(256 * 1024 if size is None else size - len(received))
        if not piece:
            break
        received += piece
    return bytes(received)


@pytest.fixture
def receive():
    """`await receive(sock, size)`: what a blocking socket brings, up to its end without a size."""

    async def receive(sock, size=None):
        return await asyncio.to_thread(receive_now, sock, size)

    return receive
