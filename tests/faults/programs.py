"""Short programs over all that the native half asks the kernel for.

`python programs.py NAME` runs one and prints a line: `ok`, or `raised TYPE ERRNO TEXT` of the
exception that it ended with. Descriptors and children that are left are printed too.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import tempfile
import threading

import penstock

PROGRAMS = {}
PATIENCE = 4  # nothing takes as long: who waits for what a fault has undone gives up


def program(main):
    PROGRAMS[main.__name__] = main
    return main


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Client(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.received = 0
        self.transport = transport
        transport.writelines([b"x" * 100, b"y" * 100])
        transport.write(b"z" * 300_000)

    def data_received(self, data):
        self.received += len(data)
        if self.received == 300_200:
            self.transport.close()

    def connection_lost(self, exc):
        if exc is not None:
            self.lost.set_exception(exc)
        else:
            self.lost.set_result(None)


@contextlib.asynccontextmanager
async def closing(server):
    try:
        yield server
    finally:
        server.close()


@program
async def echo():
    loop = asyncio.get_running_loop()
    async with closing(await loop.create_server(Echo, "127.0.0.1", 0)) as server:
        _, client = await loop.create_connection(Client, *server.sockets[0].getsockname())
        await client.lost


async def serve(reader, writer):
    try:
        writer.write(await reader.read(100_000))
        await writer.drain()
        writer.write_eof()
    finally:
        writer.close()


async def ask(reader, writer):
    try:
        writer.write(b"question")
        await writer.drain()
        if await reader.read(100) != b"question":
            raise ConnectionError("no answer")
    finally:
        writer.close()
        await writer.wait_closed()


@program
async def streams():
    async with closing(await asyncio.start_server(serve, "127.0.0.1", 0)) as server:
        await ask(*await asyncio.open_connection(*server.sockets[0].getsockname()))


@program
async def unix():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        async with closing(await asyncio.start_unix_server(serve, path)):
            await ask(*await asyncio.open_unix_connection(path))


@program
async def tls():
    import ssl

    import trustme

    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)

    async def serve_tls(reader, writer):
        try:
            writer.write(await reader.read(100))
            await writer.drain()
        finally:
            writer.close()

    async with closing(
        await asyncio.start_server(serve_tls, "127.0.0.1", 0, ssl=server_context)
    ) as server:
        port = server.sockets[0].getsockname()[1]
        await ask(
            *await asyncio.open_connection(
                "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
            )
        )


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, came):
        self.came = came

    def datagram_received(self, data, address):
        self.came.put_nowait((data, address))

    def error_received(self, exc):
        self.came.put_nowait(exc)

    def connection_lost(self, exc):
        if exc is not None:
            self.came.put_nowait(exc)


@program
async def udp():
    loop = asyncio.get_running_loop()
    came = asyncio.Queue()

    async def receive(wanted):
        match await came.get():
            case Exception() as exc:
                raise exc
            case data, address:
                assert data == wanted
                return address

    here, _ = await loop.create_datagram_endpoint(lambda: Datagrams(came), ("127.0.0.1", 0))
    try:
        address = here.get_extra_info("sockname")
        if address is None:
            raise ConnectionError("no address")
        there, _ = await loop.create_datagram_endpoint(lambda: Datagrams(came), remote_addr=address)
        try:
            there.sendto(b"question")
            here.sendto(b"answer", await receive(b"question"))
            await receive(b"answer")
        finally:
            there.close()
    finally:
        here.close()


@program
async def pipes():
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    with open(read_end, "rb", 0) as source, open(write_end, "wb", 0) as target:
        reader = asyncio.StreamReader()
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        try:
            writing, _ = await loop.connect_write_pipe(asyncio.Protocol, target)
            try:
                writing.write(b"x" * 100_000)
                await reader.readexactly(100_000)
            finally:
                writing.close()
            await reader.read()
        finally:
            reading.close()


@program
async def processes():
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await process.communicate(b"x" * 10_000)
        if output != b"x" * 10_000:
            raise ConnectionError("no answer")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@program
async def signals():
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, came.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await came.wait()
    loop.remove_signal_handler(signal.SIGUSR1)


@program
async def resolver():
    loop = asyncio.get_running_loop()
    found = [loop.getaddrinfo("localhost", 80 + i) for i in range(3)]
    for answer in await asyncio.gather(*found, return_exceptions=True):
        if isinstance(answer, Exception):
            raise answer
    await loop.getnameinfo(("127.0.0.1", 80))


@program
async def sendfile():
    loop = asyncio.get_running_loop()

    async def send(reader, writer):
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 2_000_000)
            file.flush()
            try:
                await loop.sendfile(writer.transport, file)
            finally:
                writer.close()

    async with closing(await asyncio.start_server(send, "127.0.0.1", 0)) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            if len(await reader.read()) != 2_000_000:
                raise ConnectionError("no answer")
        finally:
            writer.close()


@program
async def sockets():
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)

        async def receive():
            left = 1_000_000
            while left > 0:
                left -= len(await loop.sock_recv(far, 65536))

        await asyncio.gather(receive(), loop.sock_sendall(near, b"x" * 1_000_000))
        came = loop.create_future()
        loop.add_reader(far, lambda: came.done() or came.set_result(far.recv(1)))
        near.send(b"x")
        try:
            await came
        finally:
            loop.remove_reader(far)


@program
async def threads():
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    left = 200

    def come():
        nonlocal left
        left -= 1
        if left == 0:
            came.set()

    def call():
        for _ in range(50):
            loop.call_soon_threadsafe(come)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        await came.wait()
    finally:
        for caller in callers:
            caller.join()
    await asyncio.to_thread(int)


def fork_with(loop, body):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            body()
            status = 0
        except OSError as exc:
            print("raised", type(exc).__name__, exc.errno, exc, flush=True)
        finally:
            os._exit(status)
    return child


def fork():
    loop = penstock.new_event_loop()
    try:
        near, far = socket.socketpair()
        with near, far:
            came = []
            loop.add_reader(far, lambda: (came.append(far.recv(1)), loop.stop()))

            def run_on():
                near.send(b"x")
                loop.call_later(PATIENCE, loop.stop)
                loop.run_forever()
                if came != [b"x"]:
                    raise OSError(0, "not heard of")
                loop.close()

            child = fork_with(loop, run_on)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                os.kill(os.getpid(), os.WTERMSIG(status))
            loop.remove_reader(far)
    finally:
        loop.close()


PROGRAMS["fork"] = fork


def open_files():
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            file = os.readlink(f"/proc/self/fd/{name}")
            if "/proc/" not in file:
                found[int(name)] = file
    return found


def main(name):
    body = PROGRAMS[name]
    before = open_files()
    outcome = "ok"
    try:
        if name == "fork":
            fork()
        else:

            async def in_time():
                async with asyncio.timeout(PATIENCE):
                    await body()

            penstock.run(in_time())
    except Exception as said:
        number = getattr(said, "errno", None)
        outcome = f"raised {type(said).__name__} {number} {said}"
    gc.collect()
    after = open_files()
    for fd in after.keys() - before.keys():
        print("left", fd, after[fd])
    print(outcome, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
