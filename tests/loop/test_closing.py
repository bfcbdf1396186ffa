"""Transports, servers and the loop, closed in any order, leave nothing behind.

`World` has a server and connections to it; a seeded generator picks what is done to them, between
turns of the loop and from within callbacks. Whatever the order: every protocol is told of its
connection's beginning and end once, nobody who waits for the server waits for ever, nothing is
reported as an error, and no descriptor, task, timer or transport is left.
"""

import asyncio
import contextlib
import gc
import random
import socket
import ssl
import sys
import warnings
import weakref

import penstock
import pytest
import trustme

ORDERS = 20
STEPS = 25
BIG = bytes(1_000_000)


def collect():
    """Twice: on 3.15 what hangs on a coroutine that a first time closes outlives that time."""
    gc.collect()
    gc.collect()


@pytest.fixture
def own_errors_only(new_loop, monkeypatch):
    """What asyncio's own `__del__` raises is not kept, since it keeps the transports."""
    if new_loop is not penstock.new_event_loop:
        monkeypatch.setattr(sys, "unraisablehook", lambda _: None)


class Tcp:
    async def listen(self, factory):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()
        return server

    async def connect(self, factory, server):
        await asyncio.get_running_loop().create_connection(factory, *self.address)


class Unix:
    def __init__(self, directory):
        self.path = directory / "socket"

    async def listen(self, factory):
        return await asyncio.get_running_loop().create_unix_server(factory, self.path)

    async def connect(self, factory, server):
        await asyncio.get_running_loop().create_unix_connection(factory, self.path)


class Tls(Tcp):
    def __init__(self, contexts):
        self.contexts = contexts

    async def listen(self, factory):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=self.contexts[0])
        self.address = server.sockets[0].getsockname()
        return server

    async def connect(self, factory, server):
        loop = asyncio.get_running_loop()
        options = {"ssl": self.contexts[1], "server_hostname": "localhost"}
        await loop.create_connection(factory, *self.address, **options)


class Witness(asyncio.Protocol):
    """Checks the order of its calls; `deeds` maps the names of some to what it does in them."""

    def __init__(self, world, deeds):
        self.world = world
        self.deeds = deeds
        self.calls = []
        self.transport = None
        world.protocols.append(self)

    def _note(self, name):
        self.calls.append(name)
        for deed in self.deeds.pop(name, ()):
            deed(self.world, self.transport)

    def connection_made(self, transport):
        assert self.calls == []
        self.transport = transport
        self.world.transports.append(transport)
        self._note("connection_made")

    def data_received(self, data):
        self._check_open()
        self._note("data_received")

    def eof_received(self):
        self._check_open()
        self._note("eof_received")
        return self.world.choice.random() < 0.3

    def pause_writing(self):
        self._check_open()
        assert self.calls.count("pause_writing") == self.calls.count("resume_writing")
        self._note("pause_writing")

    def resume_writing(self):
        self._check_open()
        assert self.calls.count("pause_writing") == self.calls.count("resume_writing") + 1
        self._note("resume_writing")

    def connection_lost(self, exc):
        self._check_open()
        assert exc is None or isinstance(exc, OSError), exc
        self._note("connection_lost")
        self.world.lost += 1

    def _check_open(self):
        assert self.calls[0] == "connection_made"
        assert "connection_lost" not in self.calls


def close(world, transport):
    transport.close()


def close_twice(world, transport):
    transport.close()
    transport.close()


def abort(world, transport):
    transport.abort()


def close_then_abort(world, transport):
    transport.close()
    transport.abort()


def write(world, transport):
    if transport not in world.ended:
        transport.write(b"some bytes")


def write_much(world, transport):
    if transport not in world.ended:
        transport.write(BIG)


def write_lines(world, transport):
    # From 3.12 on asyncio's raise TypeError once they are lost.
    is_fragile = isinstance(world.server, asyncio.base_events.Server) and transport.is_closing()
    if transport not in world.ended and not is_fragile:
        transport.writelines([b"some", BIG, b"lines"])


def write_eof(world, transport):
    if not transport.can_write_eof():
        return
    world.ended.add(transport)  # to write now is an error
    with contextlib.suppress(OSError):  # the peer has reset it
        transport.write_eof()


def pause(world, transport):
    transport.pause_reading()


def resume(world, transport):
    transport.resume_reading()


def close_server(world, transport):
    world.server.close()


def close_clients(world, transport):
    if hasattr(world.server, "close_clients"):
        world.server.close_clients()


def abort_clients(world, transport):
    if hasattr(world.server, "abort_clients"):
        world.server.abort_clients()


def close_all(world, transport):
    for each in list(world.transports):
        each.close()


def await_closed(world, transport):
    world.spawn(world.server.wait_closed())


def connect(world, transport):
    world.spawn(world.connect())


def connect_and_give_up(world, transport):
    task = world.spawn(world.connect())
    for _ in range(world.choice.randrange(4)):
        task.get_loop().call_soon(lambda: None)
    task.get_loop().call_soon(task.cancel)


DEEDS = (
    close,
    close_twice,
    abort,
    close_then_abort,
    write,
    write,
    write_much,
    write_lines,
    write_eof,
    pause,
    resume,
    close_server,
    close_clients,
    abort_clients,
    close_all,
    await_closed,
    connect,
    connect_and_give_up,
)
METHODS = (
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
)


class World:
    def __init__(self, seed, place):
        self.place = place
        self.choice = random.Random(seed)
        self.protocols = []
        self.transports = []
        self.ended = set()
        self.tasks = []
        self.lost = 0
        self.server = None
        self.errors = []

    async def begin(self):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.server = await self.place.listen(self.protocol)
        await asyncio.gather(*(self.connect() for _ in range(3)))

    def protocol(self):
        deeds = {}
        for _ in range(self.choice.randrange(3)):
            deeds.setdefault(self.choice.choice(METHODS), []).append(self.choice.choice(DEEDS))
        return Witness(self, deeds)

    async def connect(self):
        with contextlib.suppress(OSError):  # once the server is closed
            await self.place.connect(self.protocol, self.server)

    def spawn(self, coroutine):
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.append(task)
        return task

    async def live(self):
        for _ in range(STEPS):
            if self.choice.random() < 0.5:
                await asyncio.sleep(0)
            elif self.choice.random() < 0.1:
                await asyncio.sleep(0.001)
            deed = self.choice.choice(DEEDS)
            deed(self, self.choice.choice(self.transports))

    async def end(self):
        """Closes what is open yet, and waits until everybody knows."""
        while not all(task.done() for task in self.tasks) or self._open():
            self.server.close()
            for transport in self._open():
                transport.abort()
            await asyncio.sleep(0.001)
        await asyncio.wait_for(self.server.wait_closed(), 30)
        for task in self.tasks:
            if not task.cancelled():
                task.result()

    def _open(self):
        return [p.transport for p in self.protocols if p.calls and "connection_lost" not in p.calls]

    def check(self):
        assert not self.errors, self.errors
        for protocol in self.protocols:
            if protocol.calls:
                assert protocol.calls.count("connection_lost") == 1, protocol.calls


@pytest.fixture(scope="session")
def contexts():
    """Of a server and of its clients."""
    authority = trustme.CA()
    contexts = [ssl.SSLContext(kind) for kind in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)]
    authority.issue_cert("localhost").configure_cert(contexts[0])
    authority.configure_trust(contexts[1])
    return contexts


@pytest.fixture(params=["tcp", "unix", "tls"])
def place(request, tmp_path, new_loop):
    if request.param == "tls":
        if new_loop is not penstock.new_event_loop:
            pytest.skip("asyncio's raise AttributeError once they are closed, or wait for ever")
        return Tls(request.getfixturevalue("contexts"))
    return Unix(tmp_path) if request.param == "unix" else Tcp()


@pytest.mark.parametrize("seed", range(ORDERS))
def test_in_any_order(seed, place, new_loop, own_errors_only):
    async def main():
        world = World(seed, place)
        async with asyncio.timeout(60):
            await world.begin()
            await world.live()
            await world.end()
        world.check()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        asyncio.get_running_loop().set_exception_handler(None)  # it knows the world
        return [weakref.ref(transport) for transport in world.transports]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        transports = runner.run(main())
        collect()
        assert transports
        assert not any(transport() for transport in transports)


@pytest.mark.parametrize("seed", range(ORDERS))
def test_the_loop_first(seed, place, new_loop, own_errors_only):
    """The loop is closed at some point, with everything else as it happens to be."""

    async def main(world):
        await world.begin()
        await world.live()

    def live():
        loop = new_loop()
        world = World(seed, place)
        loop.run_until_complete(main(world))
        if seed % 3 == 0:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.call_soon(loop.stop)
            loop.run_forever()
        loop.close()
        loop.close()
        # asyncio accepts in tasks of its own.
        assert not [e for e in world.errors if not e["message"].startswith("Task was destroyed")]
        for transport in world.transports:
            # Those that are closing do nothing, the others have nobody to tell; some of asyncio's
            # have nothing left to call.
            with contextlib.suppress(RuntimeError, AttributeError):
                transport.abort()
            with contextlib.suppress(RuntimeError, AttributeError):
                transport.close()
        with contextlib.suppress(RuntimeError):
            world.server.close()
        return [weakref.ref(each) for each in (*world.transports, world.server, loop)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is not closed says so
        left = live()
        collect()
    assert not any(each() for each in left)


def test_who_waits_for_a_connection_outlives_the_loop(contexts):
    """As garbage it would say that an exception was ignored: asyncio's does."""

    class Stopping(asyncio.Protocol):
        def connection_made(self, transport):
            asyncio.get_running_loop().stop()  # whoever waits for it does not get it any more

    place = Tls(contexts)

    def live():
        loop = penstock.new_event_loop()
        server = loop.run_until_complete(place.listen(asyncio.Protocol))
        coroutine = place.connect(Stopping, server)
        task = loop.create_task(coroutine)
        loop.run_forever()
        loop.close()
        coroutine.close()
        return weakref.ref(task), weakref.ref(loop)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is not closed says so
        left = live()
        collect()
    assert not any(each() for each in left)


def test_a_callback_closes_its_loop_after_the_run(new_loop):
    loop = new_loop()
    raised = []

    def close_it():
        try:
            loop.close()
        except RuntimeError as exc:
            raised.append(str(exc))
        loop.stop()

    loop.call_soon(close_it)
    loop.run_forever()
    assert raised == ["Cannot close a running event loop"]
    loop.close()
    assert loop.is_closed()


def test_timers_and_callbacks_are_let_go_with_the_loop(new_loop):
    class Held:
        def __call__(self):
            raise AssertionError

    loop = new_loop()
    held = [Held() for _ in range(4)]
    loop.call_soon(held[0])
    loop.call_later(60, held[1])
    handle = loop.call_later(60, held[2])
    handle.cancel()
    loop.call_soon_threadsafe(held[3])
    left = [weakref.ref(each) for each in held]
    loop.close()
    del held, handle
    gc.collect()
    assert not any(each() for each in left)


def test_what_dies_with_the_loop_may_look_at_it(new_loop):
    seen = []

    class Curious:
        def __init__(self, loop):
            self.loop = loop

        def __call__(self):
            raise AssertionError

        def __del__(self):
            seen.append(self.loop.is_closed())
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon(print)
            self.loop.close()

    loop = new_loop()
    loop.call_soon(Curious(loop))
    loop.call_later(60, Curious(loop))
    loop.close()
    del loop
    gc.collect()
    assert seen == [True, True]


@pytest.mark.parametrize("again", [False, True], ids=["removes", "closes"])
def test_what_a_reader_holds_may_look_at_its_loop_as_both_die(again, new_loop):
    seen = []
    pairs = [socket.socketpair() for _ in range(3)]

    class Argument:
        def __init__(self, loop, sock):
            self.loop = loop
            self.sock = sock

        def __del__(self):
            if again:
                self.loop.close()
            seen.append(self.loop.remove_reader(self.sock))
            seen.append(self.loop.remove_writer(self.sock))

    loop = new_loop()
    for one, other in pairs:
        one.setblocking(False)
        loop.add_reader(one, print, Argument(loop, other))
        loop.add_writer(one, print, Argument(loop, one))
    loop.close()
    del loop
    gc.collect()
    assert seen == [False, False] * 6
    for pair in pairs:
        for sock in pair:
            sock.close()


# ---- Server.wait_closed() ----------------------------------------------------------------------


@pytest.mark.asyncio_since(3, 12, 1)
@pytest.mark.parametrize("how", ["close", "abort"])
async def test_wait_closed_returns_with_the_last_connection(how):
    loop = asyncio.get_running_loop()
    served = []

    class Served(asyncio.Protocol):
        def connection_made(self, transport):
            served.append(transport)

    server = await loop.create_server(Served, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = [(await loop.create_connection(asyncio.Protocol, *address))[0] for _ in range(3)]
    while len(served) < 3:
        await asyncio.sleep(0.001)
    waiting = [asyncio.create_task(server.wait_closed()) for _ in range(2)]
    await asyncio.sleep(0)
    server.close()
    for transport in served:
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        getattr(transport, how)()
    await asyncio.wait_for(asyncio.gather(*waiting), 30)
    await server.wait_closed()  # returns at once from now on
    for client in clients:
        client.close()
    await asyncio.sleep(0)


@pytest.mark.asyncio_since(3, 12, 1)
async def test_wait_closed_before_close_waits_for_it():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    waiting = asyncio.create_task(server.wait_closed())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    server.close()
    await asyncio.wait_for(waiting, 30)


@pytest.mark.asyncio_since(3, 13)
@pytest.mark.parametrize("how", ["close_clients", "abort_clients"])
async def test_clients_are_closed_from_within_a_callback(how):
    loop = asyncio.get_running_loop()
    lost = []

    class Served(asyncio.Protocol):
        def data_received(self, data):
            server.close()
            getattr(server, how)()
            getattr(server, how)()

        def connection_lost(self, exc):
            lost.append(exc)

    server = await loop.create_server(Served, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    clients = [(await loop.create_connection(asyncio.Protocol, *address))[0] for _ in range(3)]
    clients[0].write(b"x")
    await asyncio.wait_for(server.wait_closed(), 30)
    # Those in the backlog are no clients yet, and lost with the listening socket.
    assert lost == [None] * len(lost)
    assert 1 <= len(lost) <= 3
    for client in clients:
        client.close()
    await asyncio.sleep(0)


async def test_closing_a_server_from_its_factory():
    loop = asyncio.get_running_loop()

    def factory():
        server.close()
        return asyncio.Protocol()

    server = await loop.create_server(factory, "127.0.0.1", 0)
    transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    while server.is_serving():
        await asyncio.sleep(0.001)
    transport.close()
    if sys.version_info >= (3, 12, 1):
        await asyncio.wait_for(server.wait_closed(), 30)
    await asyncio.sleep(0.01)


async def test_a_closed_server_has_no_sockets_and_closes_again():
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()
    server.close()
    assert server.sockets == ()
    assert not server.is_serving()
    with pytest.raises(RuntimeError, match="is closed"):
        await server.serve_forever()
