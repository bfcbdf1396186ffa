"""What all jobs of a soak share: servers that answer them, an executor, files, certificates."""

import asyncio
import contextlib
import logging
import random
import signal
import socket
import ssl
import struct
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.certificates import contexts

MORE_THAN_FITS = 1 << 20  # into the buffers of a socket and of a transport
EXECUTOR_THREADS = 4
LOST = (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def reset(writer: asyncio.StreamWriter) -> None:
    """The peer finds the connection reset, not ended."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:  # None: the peer was first
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(*LOST):
        await writer.wait_closed()


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(data, address)


class Ground:
    def __init__(self, props: contextlib.AsyncExitStack) -> None:
        self.loop = asyncio.get_running_loop()
        self.props = props
        self.data = random.Random(0).randbytes(MORE_THAN_FITS)
        self.signalled: set[asyncio.Future[None]] = set()
        self.second_signal = asyncio.Lock()  # whose handler is

    async def prepare(self) -> None:
        self._prepare_folder()
        self._prepare_tls()
        self._prepare_executor()
        self._prepare_signals()
        plain = await asyncio.start_server(self.converse, "127.0.0.1", 0)
        secret = await asyncio.start_server(self.converse, "127.0.0.1", 0, ssl=self.server_tls)
        self.path = str(self.folder / "socket")
        local = await asyncio.start_unix_server(self.converse, self.path)
        for server in (plain, secret, local):
            self.props.callback(server.close)
        self.address = plain.sockets[0].getsockname()
        self.tls_address = secret.sockets[0].getsockname()
        endpoint, _ = await self.loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
        self.props.callback(endpoint.close)
        self.udp_address = endpoint.get_extra_info("sockname")
        # Nobody listens there: the port is taken, and never another's.
        self.closed = self.props.enter_context(socket.socket())
        self.closed.bind(("127.0.0.1", 0))

    def _prepare_folder(self) -> None:
        made = tempfile.TemporaryDirectory(prefix="penstock-soak-")
        self.folder = Path(self.props.enter_context(made))
        self.file = self.folder / "file"
        self.file.write_bytes(self.data)

    def _prepare_tls(self) -> None:
        self.client_tls, self.server_tls = contexts()
        self.distrustful_tls = ssl.create_default_context()

    def _prepare_executor(self) -> None:
        executor = ThreadPoolExecutor(EXECUTOR_THREADS, thread_name_prefix="soak")
        self.loop.set_default_executor(executor)
        all_here = threading.Barrier(EXECUTOR_THREADS)  # so each thread has started
        list(executor.map(lambda _: all_here.wait(), range(EXECUTOR_THREADS)))

    def _prepare_signals(self) -> None:
        def tell() -> None:
            for future in self.signalled:
                if not future.done():
                    future.set_result(None)

        self.loop.add_signal_handler(signal.SIGUSR1, tell)
        self.props.callback(self.loop.remove_signal_handler, signal.SIGUSR1)

    def is_expected(self, record: logging.LogRecord) -> bool:
        """Whether an error that is logged is what a job has wanted."""
        return False

    def summary(self) -> str:
        """What of the figures is this ground's alone; nothing, where there is none."""
        return ""

    # ---- the servers' side ------------------------------------------------------------------

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The first line says what the client wants."""
        try:
            order, *sizes = (await reader.readline()).split() or [b"nothing"]
            await getattr(self, f"_{order.decode()}")(reader, writer, *map(int, sizes))
        except LOST:
            # Not to be waited for: where start_tls() fails, asyncio's streams hear of no end.
            writer.transport.abort()
        else:
            await close(writer)

    async def _nothing(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()

    async def _all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers when it has read all, half-closed as the connection may be by then."""
        writer.write(await reader.read())
        await writer.drain()

    async def _slow(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int
    ) -> None:
        for _ in range(size >> 15):
            await reader.readexactly(1 << 15)
            await asyncio.sleep(0.0002)
        writer.write(b"done\n")
        await writer.drain()

    async def _flood(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int
    ) -> None:
        writer.write(self.data[:size])
        await writer.drain()

    async def _reset(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int
    ) -> None:
        writer.write(self.data[:size])
        reset(writer)

    async def _upgrade(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"go on\n")
        await writer.drain()
        await writer.start_tls(self.server_tls)
        await self._echo(reader, writer)

    # ---- the clients' side ------------------------------------------------------------------

    async def open(self, way: str) -> Streams:
        if way == "unix":
            return await asyncio.open_unix_connection(self.path)
        if way == "tls":
            return await asyncio.open_connection(
                *self.tls_address, ssl=self.client_tls, server_hostname="localhost"
            )
        return await asyncio.open_connection(*self.address)

    @contextlib.asynccontextmanager
    async def connection(self, way: str):
        """Streams, closed in an orderly way, unless it ends by an exception."""
        reader, writer = await self.open(way)
        try:
            yield reader, writer
        except BaseException:
            writer.transport.abort()
            raise
        else:
            await close(writer)
        finally:
            writer.transport.abort()  # the closing may have been cancelled
