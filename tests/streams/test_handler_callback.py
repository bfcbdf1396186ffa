"""What asyncio adds to the task of a connection's handler, as a program may see it."""

import asyncio
import contextvars
import gc
import socket
import weakref

import pytest

variable = contextvars.ContextVar("variable", default="unset")
QUALNAME = "StreamReaderProtocol.connection_made.<locals>.callback"


@pytest.fixture
def told():
    """What the running loop's exception handler is told, and the variable's value then."""
    seen = []

    def start():
        def note(_, context):
            seen.append((context, variable.get()))
            variable.set("told")

        asyncio.get_running_loop().set_exception_handler(note)
        return seen

    return start


class Server:
    """Serves `handler`, and connects to it: the task of each handler, its writer, the client."""

    def __init__(self, streams, handler=None):
        self.streams = streams
        self.handler = handler or (lambda reader, _: reader.read())
        self.clients = []
        self.transports = []

    async def __aenter__(self):
        self.server = await self.streams.start_server(self.handle, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for client, transport in zip(self.clients, self.transports, strict=True):
            client.close()
            transport.abort()
        for _ in range(5):
            await asyncio.sleep(0)
        await self.server.wait_closed()

    async def handle(self, reader, writer):
        self.transports.append(writer.transport)
        self.begun.set_result((asyncio.current_task(), writer))
        await self.handler(reader, writer)

    async def connect(self):
        self.begun = asyncio.get_running_loop().create_future()
        self.clients.append(socket.create_connection(self.server.sockets[0].getsockname()))
        task, writer = await self.begun
        await asyncio.sleep(0)
        return task, writer, self.clients[-1]


async def fail_when_told(reader, writer):
    await reader.read(1)
    variable.set("handler")
    raise ValueError("wrong")


async def test_the_callbacks_of_a_task_show_a_function_and_a_context(streams):
    variable.set("server")
    async with Server(streams) as server:
        variable.set("later")
        task, _, client = await server.connect()
        ((callback, context),) = task._callbacks
        assert callback.__qualname__ == QUALNAME and callback.__module__ == "asyncio.streams"
        assert type(context) is contextvars.Context and context[variable] == "server"
        ((again, same),) = task._callbacks
        assert again is callback and same is context
        assert f"cb=[{QUALNAME}() at " in repr(task)
        assert task.remove_done_callback(callback) == 1
        assert not task._callbacks and QUALNAME not in repr(task)
        client.close()
        await task


@pytest.mark.parametrize("is_shown", [False, True])
async def test_it_runs_in_the_context_of_the_connection(streams, told, is_shown):
    seen = told()
    variable.set("server")
    async with Server(streams, fail_when_told) as server:
        variable.set("later")
        connected = [await server.connect() for _ in range(2)]
        for task, writer, client in connected:
            if is_shown:
                assert len(task._callbacks) == 1
            client.sendall(b"x")
            await asyncio.wait([task])
            await asyncio.sleep(0)
            context, value = seen.pop()
            assert value == "server" and not seen
            assert context["message"] == "Unhandled exception in client_connected_cb"
            assert context["transport"] is writer.transport and writer.is_closing()
            assert context["exception"] is task.exception()


async def test_it_comes_before_those_that_are_added_later(streams, told):
    seen = told()
    order = []
    async with Server(streams, fail_when_told) as server:
        task, _, client = await server.connect()
        task.add_done_callback(lambda _: order.append(len(seen)))
        client.sendall(b"x")
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert order == [1]


async def test_it_closes_the_transport_that_the_connection_began_with(streams, told):
    seen = told()

    async def fail_when_lost(reader, writer):
        transport = writer.transport
        transport.abort()
        await writer.wait_closed()
        protocol = transport.get_protocol()
        if protocol is not None:
            protocol._transport = None
        raise ValueError("wrong")

    async with Server(streams, fail_when_lost) as server:
        task, writer, _ = await server.connect()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        ((context, _),) = seen
        assert context["transport"] is writer.transport


async def test_who_completes_the_task_from_outside_has_it_called(streams, told):
    seen = told()
    async with Server(streams) as server:
        task, writer, client = await server.connect()
        error = ZeroDivisionError()
        asyncio.Future.set_exception(task, error)
        await asyncio.sleep(0)
        ((context, _),) = seen
        assert context["exception"] is error and context["transport"] is writer.transport
        client.close()
        while len(seen) == 1:  # the handler wakes up, and its task is done
            await asyncio.sleep(0)
        assert "already done" in repr(seen[1])


async def test_a_protocol_that_is_connected_twice(streams, told):
    seen = told()
    begun = []

    async def fail(reader, writer):
        begun.append(writer.transport)
        await gate.wait()
        raise ValueError("wrong")

    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    protocol = streams.StreamReaderProtocol(streams.StreamReader(loop=loop), fail, loop=loop)
    near, far = socket.socketpair()
    with far:
        first, _ = await loop.create_connection(lambda: protocol, sock=near)
        near, other = socket.socketpair()
        with other:
            second, _ = await loop.create_connection(asyncio.Protocol, sock=near)
            protocol._stream_reader._transport = None
            protocol.connection_made(second)
            await asyncio.sleep(0)
            gate.set()
            while len(seen) < 2:
                await asyncio.sleep(0)
            assert [context["transport"] for context, _ in seen] == begun == [first, second]
            await asyncio.sleep(0)
    first.abort()
    second.abort()


async def test_a_task_of_another_make_has_it_too(streams, told):
    class OtherTask(asyncio.Task):
        pass

    seen = told()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **options: OtherTask(coro, loop=loop, **options))
    async with Server(streams, fail_when_told) as server:
        task, writer, client = await server.connect()
        assert type(task) is OtherTask
        ((callback, _),) = task._callbacks
        assert callback.__qualname__ == QUALNAME
        client.sendall(b"x")
        await asyncio.wait([task])
        await asyncio.sleep(0)
        ((context, _),) = seen
        assert context["transport"] is writer.transport


async def test_a_protocol_that_is_initialised_again_still_stands_for_it(streams, told):
    seen = told()
    loop = asyncio.get_running_loop()
    async with Server(streams, fail_when_told) as server:
        task, writer, _ = await server.connect()
        protocol = writer.transport.get_protocol()
        protocol.__init__(streams.StreamReader(loop=loop), None, loop)
        protocol._loop = loop
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        # Some versions raise in the callback, some close.
        assert writer.is_closing() or seen
        writer.transport.abort()


@pytest.mark.parametrize("is_shown", [False, True])
def test_a_handler_that_never_ends_is_collected(streams, new_loop, is_shown):
    gone = []

    class Watched:
        pass

    async def main():
        async def wait(reader, writer):
            watched = Watched()
            gone.append(weakref.ref(watched))
            gone.append(weakref.ref(writer.transport.get_protocol()))
            gone.append(weakref.ref(writer.transport))
            await asyncio.get_running_loop().create_future()
            del watched

        async with Server(streams, wait) as server:
            task, writer, _ = await server.connect()
            if is_shown:
                assert len(task._callbacks) == 1
            del task, writer

    loop = new_loop()
    loop.set_exception_handler(lambda *_: None)  # "Task was destroyed but it is pending!"
    loop.run_until_complete(main())
    loop.close()
    loop = None
    gc.collect()
    assert len(gone) == 3 and all(reference() is None for reference in gone)
