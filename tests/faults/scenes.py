"""Small uses of all that the native half asks memory for.

A scene gets a `Shortage`: within its `with` an allocation fails, whichever it is. What comes of it
is either what the scene expects, or an error that somebody is told of.
"""

import asyncio
import contextlib
import contextvars
import os
import signal
import socket
import ssl
import sys
import tempfile

import penstock

SCENES = {}
SHORT = []  # the one of the scene that plays, for protocols to tell what they are told


def scene(function):
    SCENES[function.__name__] = function
    return function


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


# ---- loops, futures, tasks, handles -----------------------------------------------------------


@scene
def a_loop(short):
    loop = None
    try:
        with short:
            loop = penstock.new_event_loop()
            loop.call_soon(loop.stop)
            loop.run_forever()
    finally:
        if loop is not None:
            loop.close()


@scene
async def a_future(short):
    loop = asyncio.get_running_loop()
    came = []
    with short:
        future = loop.create_future()
        future.add_done_callback(came.append)
        future.add_done_callback(lambda future: came.append(future))
        future.add_done_callback(came.append, context=contextvars.Context())
        future.set_result(1)
        repr(future)
        await turns()
        short.expect(len(came) == 3)


@scene
async def a_failed_future(short):
    loop = asyncio.get_running_loop()
    with short:
        future = loop.create_future()
        future.set_exception(ValueError("x"))
        with contextlib.suppress(ValueError):
            await future
        repr(future)
        other = loop.create_future()
        other.set_exception(ValueError)
        short.expect(isinstance(other.exception(), ValueError))
        third = loop.create_future()
        third.cancel("x")
        try:
            third.result()
        except asyncio.CancelledError as said:
            short.expect(said.args == ("x",))


@scene
async def a_lost_exception(short):
    loop = asyncio.get_running_loop()
    with short:
        future = loop.create_future()
        future.set_exception(ValueError("x"))
        del future  # the report is _asyncio's own, which says nothing where memory is out


@scene
async def callbacks_of_a_future(short):
    loop = asyncio.get_running_loop()
    came = []
    future = loop.create_future()
    callbacks = [lambda _, i=i: came.append(i) for i in range(4)]
    for callback in callbacks:
        future.add_done_callback(callback)
    with short:
        short.expect(future.remove_done_callback(callbacks[3]) == 1)
        future.set_result(None)
        await turns()
        short.expect(came == [0, 1, 2])


async def returns(value):
    return value


async def waits(future):
    return await future


@scene
async def a_task(short):
    loop = asyncio.get_running_loop()
    with short:
        short.expect(await loop.create_task(returns(1)) == 1)


@scene
async def tasks(short):
    loop = asyncio.get_running_loop()
    with short:
        first = loop.create_task(returns(1), name="first")
        second = loop.create_task(returns(2), context=contextvars.copy_context())
        third = asyncio.create_task(returns(3))
        fourth = asyncio.ensure_future(returns(4))
        repr(first)
        first.get_name(), second.get_name(), third.get_coro(), third.get_context()
        third.set_name(17)
        for number, task in enumerate((first, second, third, fourth), 1):
            short.expect(await task == number)


@scene
async def a_called_task(short):
    with short:
        task = penstock._core.Task(returns(1), loop=asyncio.get_running_loop(), name=3)
        short.expect(await task == 1)
        future = penstock._core.Future()
        future.set_result(2)
        short.expect(await future == 2)


@scene
async def tasks_that_wait(short):
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    with short:
        waiting = [loop.create_task(waits(future)) for _ in range(3)]
        waiting[1] = loop.create_task(asyncio.sleep(5))
        await turns()
        waiting[1].cancel("enough")
        repr(waiting[0])
        waiting[0].get_stack()
        future.set_result(1)
        short.expect(await waiting[0] == 1)
        short.expect(await waiting[2] == 1)
        try:
            await waiting[1]
        except asyncio.CancelledError as said:
            short.expect(said.args == ("enough",) or sys.version_info < (3, 11))
        else:
            short.expect(False)


@scene
async def a_task_that_fails(short):
    async def fail():
        await asyncio.sleep(0)
        raise ValueError

    with short:
        task = asyncio.create_task(fail())
        try:
            await task
        except ValueError:
            task.exception()
        else:
            short.expect(False)


@scene
async def a_task_that_yields_nonsense(short):
    class Nonsense:
        def __await__(self):
            yield 17

    async def yield_nonsense():
        await Nonsense()

    with short:
        try:
            await asyncio.create_task(yield_nonsense())
        except RuntimeError:
            pass
        else:
            short.expect(False)


@scene
async def a_cancelled_task(short):
    task = asyncio.create_task(asyncio.sleep(10))
    await turns()
    with short:
        task.cancel("enough")
        try:
            await task
        except asyncio.CancelledError as said:
            if not task.done():
                raise
            short.expect(said.args == ("enough",))


@scene
async def eager_tasks(short):
    if sys.version_info < (3, 12):
        return
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        with short:
            short.expect(await loop.create_task(returns(1)) == 1)
            future = loop.create_future()
            waiting = loop.create_task(waits(future), name="eager")
            future.set_result(2)
            short.expect(await waiting == 2)
    finally:
        loop.set_task_factory(None)


@scene
async def a_stranger_awaited(short):
    class Stranger:
        _asyncio_future_blocking = False

        def __init__(self, loop):
            self.loop = loop
            self.callbacks = []

        def get_loop(self):
            return self.loop

        def add_done_callback(self, callback, *, context=None):
            self.callbacks.append((callback, context))

        def result(self):
            return 5

        def cancel(self, msg=None):
            return False

        def __await__(self):
            self._asyncio_future_blocking = True
            yield self
            return self.result()

    loop = asyncio.get_running_loop()
    stranger = Stranger(loop)
    with short:
        task = loop.create_task(waits(stranger))
        await turns()
        for callback, context in stranger.callbacks:
            loop.call_soon(callback, stranger, context=context)
        short.expect(await task == 5)


@scene
async def calls(short):
    loop = asyncio.get_running_loop()
    came = []
    with short:
        handle = loop.call_soon(came.append, 1)
        loop.call_soon(lambda *args: came.append(len(args)), *range(7))
        loop.call_soon(came.append, 3, context=contextvars.Context())
        loop.call_soon_threadsafe(came.append, 4)
        repr(handle), handle.get_context(), handle.cancelled()
        await turns()
        short.expect(came == [1, 7, 3, 4])


@scene
async def timed_calls(short):
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    with short:
        handle = loop.call_later(0.0001, came.set_result, 1)
        later = loop.call_at(loop.time() + 50, int)
        repr(handle), repr(later), handle.when(), hash(later), later > handle
        later.cancel()
        short.expect(await came == 1)


@scene
async def many_calls(short):
    loop = asyncio.get_running_loop()
    came = []
    late = loop.create_future()
    with short:
        for i in range(600):
            loop.call_soon(came.append, i)
        timers = [loop.call_later(10, int) for _ in range(300)]
        loop.call_later(0, late.set_result, None)
        for timer in timers:
            timer.cancel()
        await late
        short.expect(came == list(range(600)))


@scene
async def a_callback_that_fails(short):
    loop = asyncio.get_running_loop()

    def fail():
        raise ValueError

    with short:
        loop.call_soon(fail)
        loop.call_later(0, fail)
        await turns()
        await asyncio.sleep(0.0001)
    short.expect(len(short.told) == 2)


@scene
async def sleeps(short):
    loop = asyncio.get_running_loop()
    with short:
        await asyncio.sleep(0)
        short.expect(await asyncio.sleep(0.0001, 7) == 7)
        short.expect(await penstock._core.sleep(0, 8) == 8)
        task = loop.create_task(asyncio.sleep(20))
        await turns()
        repr(task)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
        try:
            async with asyncio.timeout(0.0001):
                await asyncio.sleep(10)
        except TimeoutError:
            pass


@scene
async def debug_mode(short):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    came = []
    try:
        with short:
            loop.call_soon(came.append, 1)
            future = loop.create_future()
            loop.call_later(0, future.set_result, 2)
            repr(future)
            short.expect(await loop.create_task(waits(future)) == 2)
            short.expect(came == [1])
    finally:
        loop.slow_callback_duration = 0.1
        loop.set_debug(False)


@scene
async def all_tasks(short):
    with short:
        task = asyncio.create_task(asyncio.sleep(0))
        short.expect(task in asyncio.all_tasks())
        short.expect(asyncio.current_task() is not None)
        await task


@scene
async def an_executor(short):
    loop = asyncio.get_running_loop()
    with short:
        short.expect(await loop.run_in_executor(None, lambda: 3) == 3)


@scene
async def a_resolver(short):
    loop = asyncio.get_running_loop()
    with short:
        found = await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        short.expect(found[0][4][1] == 80)
        found = await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
        short.expect(found[0] == "127.0.0.1")


@scene
async def a_signal(short):
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    try:
        with short:
            loop.add_signal_handler(signal.SIGUSR1, came.set_result, 1)
            os.kill(os.getpid(), signal.SIGUSR1)
            short.expect(await came == 1)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


# ---- descriptors and sockets ------------------------------------------------------------------


@scene
async def descriptors(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        came = loop.create_future()
        try:
            with short:
                loop.add_reader(far, lambda: came.done() or came.set_result(far.recv(9)))
                loop.add_writer(near, lambda: came.done() or near.send(b"x"))
                short.expect(await came in (b"x", b"xx"))
        finally:
            loop.remove_reader(far)
            loop.remove_writer(near)


@scene
async def many_descriptors(short):
    loop = asyncio.get_running_loop()
    pairs = [socket.socketpair() for _ in range(40)]
    came = [loop.create_future() for _ in pairs]

    def come(i):
        if not came[i].done():
            came[i].set_result(pairs[i][0].recv(1))

    try:
        with short:
            for i, (near, far) in enumerate(pairs):
                loop.add_reader(near, come, i)
                far.send(b"x")
            for one in came:
                short.expect(await one == b"x")
    finally:
        for near, far in pairs:
            loop.remove_reader(near)
            near.close()
            far.close()


@scene
async def sockets(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        with short:
            buffer = bytearray(10)
            waiting = loop.create_task(loop.sock_recv(far, 10))
            await turns()
            await loop.sock_sendall(near, b"one")
            short.expect(await waiting == b"one")
            await loop.sock_sendall(near, b"two")
            short.expect(await loop.sock_recv_into(far, buffer) == 3)


@scene
async def sockets_that_connect(short):
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        server.setblocking(False)
        client.setblocking(False)
        with short:
            await loop.sock_connect(client, server.getsockname())
            accepted, _ = await loop.sock_accept(server)
            accepted.close()


@scene
async def datagram_sockets(short):
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
    ):
        for end in (near, far):
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        with short:
            waiting = loop.create_task(loop.sock_recvfrom(far, 10))
            await turns()
            await loop.sock_sendto(near, b"x", far.getsockname())
            short.expect(await waiting == (b"x", near.getsockname()))


# ---- transports -------------------------------------------------------------------------------


class Listener(asyncio.Protocol):
    def __init__(self):
        self.transport = None
        self.received = bytearray()
        self.ended = self.lost = False
        self.changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data
        self.changed.set()

    def eof_received(self):
        self.ended = True
        self.changed.set()

    def connection_lost(self, exc):
        if exc is not None:
            SHORT[0].tell(exc)
        self.lost = True
        self.changed.set()

    def pause_writing(self):
        pass

    def resume_writing(self):
        self.changed.set()

    async def until(self, condition):
        while not condition(self):
            if self.lost:
                return False
            self.changed.clear()
            await self.changed.wait()
        return True


class Filler(Listener, asyncio.BufferedProtocol):
    data_received = None

    def get_buffer(self, hint):
        self.buffer = bytearray(1000)
        return self.buffer

    def buffer_updated(self, count):
        self.received += self.buffer[:count]
        self.changed.set()


@contextlib.asynccontextmanager
async def pair(near_kind=Listener, far_kind=Listener):
    """Two transports that are connected to each other."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    ours = theirs = None
    try:
        ours, near_protocol = await loop.connect_accepted_socket(near_kind, near)
        theirs, far_protocol = await loop.connect_accepted_socket(far_kind, far)
        yield near_protocol, far_protocol
    finally:
        for transport in (ours, theirs):
            if transport is not None:
                transport.abort()


@contextlib.contextmanager
def aborting(protocols):
    try:
        yield
    finally:
        for protocol in protocols:
            if protocol.transport is not None:
                protocol.transport.abort()


@scene
async def a_transport(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    protocol = Listener()
    with far, near, aborting([protocol]):
        with short:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, near)
            repr(transport)
            transport.get_extra_info("peername")
            transport.get_extra_info("socket").getsockname()
            transport.is_closing(), transport.get_protocol()
            far.send(b"x")
            short.expect(await protocol.until(lambda it: it.received == b"x"))
            transport.close()
            await protocol.until(lambda it: it.lost)


async def transfer(short, near_kind, far_kind):
    async with pair(near_kind, far_kind) as (near, far):
        with short:
            near.transport.write(b"a" * 10)
            near.transport.writelines([b"b" * 10, bytearray(b"c" * 10)])
            near.transport.write(b"")
            short.expect(await far.until(lambda it: len(it.received) == 30))
            short.expect(far.received == b"a" * 10 + b"b" * 10 + b"c" * 10)


@scene
async def writes(short):
    await transfer(short, Listener, Listener)


@scene
async def buffered_reads(short):
    await transfer(short, Listener, Filler)


@scene
async def large_writes(short):
    async with pair() as (near, far):
        with short:
            far.transport.pause_reading()
            far.transport.set_write_buffer_limits(high=10)
            near.transport.set_write_buffer_limits(low=5, high=10)
            near.transport.write(b"x" * 400_000)
            near.transport.write(bytearray(b"y" * 100_000))
            near.transport.writelines([b"z" * 50_000, b"z" * 50_000])
            near.transport.get_write_buffer_size()
            near.transport.get_write_buffer_limits()
            far.transport.resume_reading()
            short.expect(await far.until(lambda it: len(it.received) == 600_000))
            near.transport.write_eof()
            short.expect(await far.until(lambda it: it.ended))


@scene
async def a_connection(short):
    loop = asyncio.get_running_loop()
    served = []

    def serve():
        served.append(Listener())
        return served[-1]

    async with await loop.create_server(serve, "127.0.0.1", 0) as server:
        client = Listener()
        with aborting([client]):
            try:
                with short:
                    address = server.sockets[0].getsockname()
                    await loop.create_connection(lambda: client, *address)
                    client.transport.write(b"question")
                    while not (served and served[0].transport):
                        if client.ended or client.lost:
                            return  # of what accepting fails is told in debug mode, as in asyncio
                        await asyncio.sleep(0.001)
                    (other,) = served
                    short.expect(await other.until(lambda it: it.received == b"question"))
                    other.transport.close()
                    await client.until(lambda it: it.ended)
            finally:
                for protocol in served:
                    if protocol.transport is not None:
                        protocol.transport.abort()


@scene
async def a_server(short):
    loop = asyncio.get_running_loop()
    server = None
    try:
        with short:
            server = await loop.create_server(Listener, "127.0.0.1", 0)
            server.get_loop(), server.sockets
            server.close()
            await server.wait_closed()
    finally:
        if server is not None:
            server.close()


@scene
async def streams(short):
    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(await reader.readline())
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        writer = None
        try:
            with short:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b"question\n")
                # Of what accepting fails is told in debug mode, as in asyncio.
                short.expect(await reader.read() in (b"question\n", b""))
        finally:
            if writer is not None:
                writer.transport.abort()


@scene
async def a_failed_connection(short):
    loop = asyncio.get_running_loop()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with short:
            try:
                await loop.create_connection(Listener, *unused.getsockname())
            except ConnectionRefusedError:
                pass
            else:
                short.expect(False)


@scene
async def unix(short):
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        client = Listener()
        async with await loop.create_unix_server(Listener, path):
            with aborting([client]), short:
                await loop.create_unix_connection(lambda: client, path)
                client.transport.get_extra_info("peername")
                client.transport.get_extra_info("sockname")
                await turns()


@scene
async def a_lost_connection(short):
    async with pair() as (near, far):
        near.transport.write(b"x")
        await far.until(lambda it: it.received)
        with short:
            far.transport.abort()
            await far.until(lambda it: it.lost)
            await near.until(lambda it: it.lost or it.ended)
            near.transport.write(b"x")
            near.transport.close()
            await near.until(lambda it: it.lost)


@scene
async def a_protocol_that_fails(short):
    class Failing(Listener):
        def data_received(self, data):
            raise ValueError

    async with pair(Listener, Failing) as (near, far):
        with short:
            near.transport.write(b"x")
            await far.until(lambda it: it.lost)
            short.expect(short.told)


@scene
async def sendfile(short):
    loop = asyncio.get_running_loop()
    async with pair() as (near, far):
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 300_000)
            file.flush()
            with short:
                await loop.sendfile(near.transport, file)
                near.transport.close()
                short.expect(await far.until(lambda it: len(it.received) == 300_000))


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.transport = None
        self.came = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.came.put_nowait((data, address))

    def error_received(self, exc):
        SHORT[0].tell(exc)
        self.came.put_nowait((None, exc))

    def connection_lost(self, exc):
        if exc is not None:
            SHORT[0].tell(exc)
        self.came.put_nowait((None, exc))


@scene
async def datagrams(short):
    loop = asyncio.get_running_loop()
    ends = [Datagrams(), Datagrams()]
    with aborting(ends), short:
        near, far = ends
        await loop.create_datagram_endpoint(lambda: near, ("127.0.0.1", 0))
        address = near.transport.get_extra_info("sockname")
        await loop.create_datagram_endpoint(lambda: far, remote_addr=address)
        far.transport.sendto(b"question")
        data, sender = await near.came.get()
        if data is None:
            return
        short.expect(data == b"question")
        near.transport.sendto(b"answer", sender)
        data, _ = await far.came.get()
        short.expect(data in (b"answer", None))
        near.transport.close()


@scene
async def many_datagrams(short):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ends = [Datagrams(), Datagrams()]
    with near, far, aborting(ends):
        await loop.create_datagram_endpoint(lambda: ends[0], sock=near)
        await loop.create_datagram_endpoint(lambda: ends[1], sock=far)
        with short:
            for _ in range(120):
                ends[0].transport.sendto(b"x" * 100)
            for _ in range(120):
                data, _ = await ends[1].came.get()
                if data is None:
                    break


@scene
async def pipes(short):
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    ends = [Listener(), Listener()]
    with open(read_end, "rb", 0) as source, open(write_end, "wb", 0) as target:
        with aborting([ends[1]]):
            try:
                with short:
                    await loop.connect_read_pipe(lambda: ends[0], source)
                    await loop.connect_write_pipe(lambda: ends[1], target)
                    repr(ends[0].transport), repr(ends[1].transport)
                    ends[1].transport.write(b"x" * 200_000)
                    short.expect(await ends[0].until(lambda it: len(it.received) == 200_000))
                    ends[1].transport.close()
                    await ends[0].until(lambda it: it.ended)
            finally:
                if ends[0].transport is not None:
                    ends[0].transport.close()


@scene
async def a_process(short):
    process = None
    try:
        with short:
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            if process.stdin is None:  # its protocol, which was reported, had no room
                raise MemoryError
            output, _ = await process.communicate(b"x" * 1000)
            short.expect(output == b"x" * 1000 and await process.wait() == 0)
    finally:
        if process is not None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=0.2)
            process._transport.close()


# ---- TLS --------------------------------------------------------------------------------------


def contexts():
    if not hasattr(contexts, "made"):
        import trustme

        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        contexts.made = server, client
    return contexts.made


async def first_failure(tasks):
    """Where one has failed the other would wait for it."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return [task.result() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()


async def secured(short, handshake, transfer):
    """`short` while there is a handshake, or only afterwards."""
    loop = asyncio.get_running_loop()
    server_context, client_context = contexts()
    near, far = socket.socketpair()
    ends = server, client = [Listener(), Listener()]
    with near, far, aborting(ends):

        async def connect():
            both = [
                asyncio.create_task(
                    loop.connect_accepted_socket(
                        lambda: server, near, ssl=server_context, ssl_handshake_timeout=5
                    )
                ),
                asyncio.create_task(
                    loop.create_connection(
                        lambda: client,
                        sock=far,
                        ssl=client_context,
                        server_hostname="localhost",
                        ssl_handshake_timeout=5,
                    )
                ),
            ]
            await first_failure(both)

        with short if handshake else contextlib.nullcontext():
            await connect()
        if transfer and short.error is None:
            with short:
                repr(client.transport)
                client.transport.get_extra_info("cipher")
                client.transport.write(b"question")
                client.transport.writelines([b"!" * 40_000, b"?" * 40_000])
                short.expect(await server.until(lambda it: len(it.received) == 80_008))
                server.transport.pause_reading()
                server.transport.write(b"answer")
                server.transport.resume_reading()
                short.expect(await client.until(lambda it: it.received == b"answer"))
                client.transport.close()
                await server.until(lambda it: it.lost)
                await client.until(lambda it: it.lost)


@scene
async def a_tls_handshake(short):
    await secured(short, handshake=True, transfer=False)


@scene
async def tls(short):
    await secured(short, handshake=False, transfer=True)


@scene
async def start_tls(short):
    loop = asyncio.get_running_loop()
    server_context, client_context = contexts()
    async with pair() as (near, far):
        try:
            with short:
                both = [
                    asyncio.create_task(
                        loop.start_tls(near.transport, near, server_context, server_side=True)
                    ),
                    asyncio.create_task(
                        loop.start_tls(
                            far.transport, far, client_context, server_hostname="localhost"
                        )
                    ),
                ]
                server, client = await first_failure(both)
                server.write(b"question")
                short.expect(await far.until(lambda it: it.received == b"question"))
                client.abort()
                server.abort()
        finally:
            near.transport.abort()
            far.transport.abort()
