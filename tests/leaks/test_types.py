"""Every native type gives back what it holds: by its last reference, and out of a cycle.

A maker returns an object that holds the tracer. Each runs on asyncio too, whose types hold the
same.
"""

import asyncio
import functools
import gc
import importlib.util
import os
import socket
import ssl
import sys
import warnings
import weakref
from collections import Counter

import penstock
import pytest
import trustme
from penstock import _core

NATIVE = {name for name, kind in vars(_core).items() if isinstance(kind, type)}


class Tracer:
    """What is held; as a callback, as a result, as an argument, as a transport."""

    def __call__(self, *args):
        pass

    def is_closing(self):
        return True

    def __int__(self):
        return 0

    async def run(self):
        return self


def future(loop, tracer):
    made = loop.create_future()
    made.set_result(tracer)
    return made


def future_with_callback(loop, tracer):
    made = loop.create_future()
    made.add_done_callback(tracer)
    return made


def future_with_exception(loop, tracer):
    made = loop.create_future()
    made.set_exception(ValueError(tracer))
    made.exception()
    return made


def future_cancelled(loop, tracer):
    made = loop.create_future()
    made.cancel(tracer)
    return made


def future_with_attribute(loop, tracer):
    made = loop.create_future()
    made.tracer = tracer
    return made


def future_iter(loop, tracer):
    made = iter(future_with_attribute(loop, tracer))
    assert next(made) is not None
    return made


def task(loop, tracer):
    made = loop.create_task(tracer.run())
    loop.run_until_complete(asyncio.wait([made]))
    return made


def task_with_callback_and_name(loop, tracer):
    made = loop.create_task(asyncio.sleep(0), name=tracer)
    made.add_done_callback(tracer)
    loop.run_until_complete(made)
    made.tracer = tracer
    return made


def task_that_waits(loop, tracer):
    async def wait():
        await tracer.gate

    tracer.gate = loop.create_future()
    made = loop.create_task(wait())
    made._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    made.tracer = tracer
    return made


def task_cancelled(loop, tracer):
    made = loop.create_task(asyncio.sleep(1000))
    loop.run_until_complete(asyncio.sleep(0))
    made.cancel(tracer)
    loop.run_until_complete(asyncio.wait([made]))
    return made


def gathering(loop, tracer):
    async def main():
        return penstock.gather(tracer.run(), tracer.run())

    made = loop.run_until_complete(main())
    loop.run_until_complete(made)
    made.tracer = tracer
    return made


def gathering_of_what_is_not_done(loop, tracer):
    async def main():
        tracer.gate = loop.create_future()
        return penstock.gather(tracer.gate)

    made = loop.run_until_complete(main())
    made.tracer = tracer
    return made


def task_group(loop, tracer):
    made = penstock.TaskGroup()

    async def main():
        async with made:
            made.create_task(tracer.run())
            made.create_task(asyncio.sleep(0))

    loop.run_until_complete(main())
    made.tracer = tracer
    return made


def task_group_that_waits(loop, tracer):
    async def wait():
        await tracer.gate

    async def main():
        tracer.gate = loop.create_future()
        made = penstock.TaskGroup()
        await made.__aenter__()
        made.create_task(wait())._log_destroy_pending = False
        return made

    made = loop.run_until_complete(main())
    made.tracer = tracer
    return made


def handle(loop, tracer):
    made = loop.call_soon(tracer, tracer)
    loop.run_until_complete(asyncio.sleep(0))
    return made


def handle_cancelled(loop, tracer):
    made = loop.call_soon(tracer, tracer)
    made.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    return made


def timer_handle(loop, tracer):
    made = loop.call_later(0, tracer, tracer)
    loop.run_until_complete(asyncio.sleep(0.001))
    return made


def sleep(_, tracer):
    made = asyncio.sleep(0, tracer)
    made.send(None)
    return made


def native_sleep(_, tracer):
    made = _core.sleep(0, tracer)
    made.send(None)
    return made


def wait_for_a_lock(loop, tracer):
    async def wait():
        await tracer.lock.acquire()
        await tracer.lock.acquire()

    tracer.lock = penstock.Lock()
    made = loop.create_task(wait())
    made._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    made.tracer = tracer.lock.tracer = tracer
    return made


def coroutine_iter(_, tracer):
    made = _core.sleep(0, tracer).__await__()
    made.send(None)
    return made


def timeout(_, tracer):
    made = penstock.timeout_at(1e9)
    made.tracer = tracer
    return made


def timeout_step(_, tracer):
    made = timeout(_, tracer).__aexit__(None, tracer, None)
    made.close()
    return made


def limit_not_begun(_, tracer):
    made = penstock.wait_for(tracer, 1000)
    made.close()
    return made


def putter(loop, tracer):
    async def put():
        await tracer.queue.put(tracer)
        await tracer.queue.put(tracer)

    tracer.queue = penstock.Queue(1)
    made = loop.create_task(put())
    made._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    return made


def stream(loop, tracer):
    async def read():
        while True:
            await tracer.reader.read(1)

    tracer.reader = penstock.StreamReader(loop=loop)
    tracer.protocol = penstock.StreamReaderProtocol(tracer.reader, tracer, loop)
    tracer.writer = penstock.StreamWriter(tracer, tracer.protocol, tracer.reader, loop)
    tracer.drain = tracer.writer.drain()
    tracer.drain.send(None)
    made = loop.create_task(read())
    made._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    tracer.reader.set_transport(tracer)
    return made


MAKERS = [
    future,
    future_with_callback,
    future_with_exception,
    future_cancelled,
    future_with_attribute,
    future_iter,
    task,
    task_with_callback_and_name,
    task_that_waits,
    task_cancelled,
    gathering,
    gathering_of_what_is_not_done,
    task_group,
    task_group_that_waits,
    handle,
    handle_cancelled,
    timer_handle,
    sleep,
    native_sleep,
    wait_for_a_lock,
    coroutine_iter,
    timeout,
    timeout_step,
    limit_not_begun,
    putter,
    stream,
]


@pytest.fixture(autouse=True)
def _no_native_object_is_left():
    before = natives()
    yield
    assert natives() - before == Counter()


def natives():
    gc.collect()
    return Counter(
        kind.__name__
        for kind in map(type, gc.get_objects())
        if kind.__module__ == "penstock._core" and kind.__name__ in NATIVE
    )


# What was cancelled keeps its exception, whose traceback refers to it in turn from 3.13 on.
# A lock holds who waits for it.
# A gather() and a group hold their tasks, whose callbacks hold them.
IN_CYCLES = (
    task_that_waits,
    task_cancelled,
    gathering_of_what_is_not_done,
    task_group_that_waits,
    wait_for_a_lock,
    putter,
    stream,
)


@pytest.mark.parametrize("make", [make for make in MAKERS if make not in IN_CYCLES])
def test_by_its_last_reference(loop, make):
    gc.disable()
    try:
        tracer = Tracer()
        gone = weakref.ref(tracer)
        made = make(loop, tracer)
        tracer.__dict__.clear()
        del tracer
        del made
        loop.run_until_complete(asyncio.sleep(0))
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("make", MAKERS)
def test_out_of_a_cycle(loop, make):
    tracer = Tracer()
    gone = weakref.ref(tracer)
    tracer.holder = make(loop, tracer)
    del tracer
    loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("make", MAKERS)
def test_a_thousand_of_them(loop, make):
    tracer = Tracer()
    before = sys.getrefcount(tracer)
    for _ in range(20 if make is timer_handle else 1000):
        make(loop, tracer)
        tracer.__dict__.clear()
    loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert sys.getrefcount(tracer) == before


def schedule(loop, tracer):
    loop.call_soon(tracer)
    loop.call_soon_threadsafe(tracer)


def start_timers(loop, tracer):
    loop.call_later(1000, tracer)
    loop.call_later(1000, tracer).cancel()


def watch(loop, tracer):
    tracer.pair = socket.socketpair()
    loop.add_reader(tracer.pair[0], tracer)
    loop.add_writer(tracer.pair[0], tracer)


def wait_for_a_socket(loop, tracer):
    class Data(bytearray):
        held = tracer

    tracer.pair = socket.socketpair()
    tracer.pair[0].setblocking(False)
    receiving = loop.create_task(loop.sock_recv_into(tracer.pair[0], Data(10)))
    receiving._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))


def start_tasks(loop, tracer):
    async def nap():
        await asyncio.sleep(1000, tracer)

    async def native_nap():
        await _core.sleep(1000, tracer)

    for coroutine in (nap(), native_nap()):
        loop.create_task(coroutine)._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))


def start_timeouts(loop, tracer):
    async def wait():
        async with penstock.timeout(1000) as timeout:
            timeout.tracer = tracer
            async with asyncio.timeout(1000) as timeout:
                timeout.tracer = tracer
                await loop.create_future()

    async def wait_with_a_limit():
        await penstock.wait_for(asyncio.sleep(1000, tracer), 1000)

    for coroutine in (wait(), wait_with_a_limit()):
        loop.create_task(coroutine)._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False


def remember(loop, tracer):
    loop.set_exception_handler(tracer)
    loop.set_task_factory(tracer)
    loop.set_task_factory(None)
    loop.anything = tracer


def connect(loop, tracer):
    class Holds(asyncio.Protocol):
        held = tracer

    tracer.pair = socket.socketpair()
    tracer.pair[0].setblocking(False)
    tracer.transport, _ = loop.run_until_complete(
        loop.create_connection(Holds, sock=tracer.pair[0])
    )


def serve(loop, tracer):
    tracer.server = loop.run_until_complete(loop.create_server(tracer, "127.0.0.1", 0))


def connect_pipes(loop, tracer):
    class Holds(asyncio.Protocol):
        held = tracer

    reading, writing = os.pipe()
    files = open(reading, "rb", 0), open(writing, "wb", 0)  # noqa: SIM115
    tracer.ends = [
        loop.run_until_complete(loop.connect_read_pipe(Holds, files[0])),
        loop.run_until_complete(loop.connect_write_pipe(Holds, files[1])),
    ]


def connect_datagrams(loop, tracer):
    class Holds(asyncio.DatagramProtocol):
        held = tracer

    tracer.transport, _ = loop.run_until_complete(
        loop.create_datagram_endpoint(Holds, local_addr=("127.0.0.1", 0))
    )
    tracer.transport.sendto(b"x", tracer.transport.get_extra_info("sockname"))


@functools.cache
def certificate():
    return trustme.CA().issue_cert("localhost")


def connect_tls(loop, tracer):
    """Both ends, each of which holds the tracer."""
    client, server = (
        ssl.SSLContext(protocol) for protocol in (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)
    )
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    certificate().configure_cert(server)

    class Holds(asyncio.Protocol):
        held = tracer

    near, far = tracer.pair = socket.socketpair()

    async def connect():
        return await asyncio.gather(
            loop.create_connection(Holds, sock=near, ssl=client, server_hostname=""),
            loop.connect_accepted_socket(Holds, far, ssl=server),
        )

    near.setblocking(False)
    far.setblocking(False)
    tracer.ends = loop.run_until_complete(connect())


def watch_a_process(loop, tracer):
    if isinstance(loop, penstock.Loop):
        loop._watch_child(os.getpid(), tracer)


def serve_http(loop, tracer):
    if not isinstance(loop, penstock.Loop):
        return

    async def app(scope, receive, send):
        scope["tracer"] = tracer
        tracer.unsent = send({"type": "http.response.start", "status": 200})
        await receive()
        await receive()

    near, far = tracer.pair = socket.socketpair()
    for each in tracer.pair:
        each.setblocking(False)
    server = _core.HttpServer(loop, app, penstock.Server(app)._options({"tracer": tracer}))

    async def connect():
        near.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        tracer.end = await loop.connect_accepted_socket(server, far)
        while not server.running:
            await asyncio.sleep(0)

    loop.run_until_complete(connect())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False


FILLS = [
    schedule,
    start_timers,
    watch,
    wait_for_a_socket,
    wait_for_a_socket,
    start_tasks,
    start_timeouts,
    remember,
    connect,
    serve,
    connect_pipes,
    connect_datagrams,
    connect_tls,
    watch_a_process,
    serve_http,
]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_every_type_is_among_them():
    seen = set()
    for make in [*MAKERS, *FILLS]:
        loop, tracer = penstock.new_event_loop(), Tracer()
        made = make(loop, tracer)
        kinds = {base for thing in gc.get_objects() for base in type(thing).__mro__}
        seen |= {name for name in NATIVE if getattr(_core, name) in kinds}
        loop.close()
        tracer.__dict__.clear()
        del loop, tracer, made, kinds
    # sleep() is one, which test_a_module_of_its_own_and_all_its_types looks for.
    assert NATIVE - seen == {"CoroutineFunction", "QueueShutDown"}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "lost"])
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning")
def test_a_loop_and_all_that_it_holds(new_loop, fill, is_closed):
    if not is_closed and new_loop is not penstock.new_event_loop:
        pytest.skip("asyncio's is closed by its finalizer as well, and is no matter here")
    loop = new_loop()
    tracer = Tracer()
    tracer.loop = loop
    gone, loop_gone = weakref.ref(tracer), weakref.ref(loop)
    fill(loop, tracer)
    if is_closed:
        loop.close()
    del loop, tracer
    gc.collect()
    gc.collect()  # what came back from a finalizer
    assert gone() is None and loop_gone() is None


def test_a_server_that_is_closed_lets_its_factory_go(loop):
    tracer = Tracer()
    gone = weakref.ref(tracer)
    server = loop.run_until_complete(loop.create_server(tracer, "127.0.0.1", 0))
    tracer.server = server
    server.close()
    del server, tracer
    loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("connect", [connect, connect_tls, connect_pipes, connect_datagrams])
def test_a_transport_that_is_closed_lets_its_protocol_go(loop, connect):
    tracer = Tracer()
    gone = weakref.ref(tracer)
    connect(loop, tracer)
    made = [tracer.transport] if hasattr(tracer, "transport") else [pair[0] for pair in tracer.ends]
    for transport in made:
        transport.close()
    for _ in range(100):  # TLS takes leave of the other end first
        loop.run_until_complete(asyncio.sleep(0))
    del tracer, made, transport
    gc.collect()
    assert gone() is None


def test_a_module_of_its_own_and_all_its_types():
    """As in a subinterpreter: what the module has made, its functions and types, goes with it."""
    spec = importlib.util.spec_from_file_location(_core.__name__, _core.__file__)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    assert module is not _core and module.Task is not _core.Task
    assert type(module.sleep) is module.CoroutineFunction
    things = [module.sleep, module.Loop, module.Task, module.Future]
    gone = [weakref.ref(thing) for thing in things]
    del module, things, spec
    gc.collect()
    assert [reference() for reference in gone if reference() is not None] == []
