"""sock_recv and its siblings."""

import array
import asyncio
import gc
import inspect
import os
import socket
import time
import weakref

import pytest


async def test_recv_at_once_and_later(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    theirs.send(b"ready")
    assert await loop.sock_recv(ours, 100) == b"ready"
    task = asyncio.create_task(loop.sock_recv(ours, 3))
    await asyncio.sleep(0)
    theirs.send(b"later")
    assert await task == b"lat"
    assert await loop.sock_recv(ours, 100) == b"er"
    theirs.close()
    assert await loop.sock_recv(ours, 100) == b""


async def test_received_bytes_of_every_size_stay_as_they_are(pair):
    """The memory of a large one serves again, but for what is kept."""
    ours, theirs = pair
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    kept = []
    for turn, size in enumerate([10, 65536, 65536, 100, 150_000, 20_000, 70_000, 5, 400_000] * 4):
        sent = os.urandom(size)
        sending = asyncio.create_task(loop.sock_sendall(theirs, sent))
        came = b""
        while len(came) < size:
            piece = await loop.sock_recv(ours, 30_000 if turn % 5 == 3 else 262_144)
            kept.append((piece, bytes(bytearray(piece))))
            came += piece
        assert came == sent
        await sending
        del kept[: len(kept) // 3]
        assert all(piece == copy for piece, copy in kept)


async def test_a_datagram_after_much_is_whole(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    for _ in range(2):
        theirs.sendall(bytes(40_000))
        assert len(await loop.sock_recv(ours, 262_144)) == 40_000
    near, far = socket.socketpair(type=socket.SOCK_DGRAM)
    with near, far:
        near.setblocking(False)
        for size in (60_000, 30_000, 100, 60_000):
            theirs.sendall(bytes(20_000))
            assert len(await loop.sock_recv(ours, 262_144)) == 20_000
            sent = os.urandom(size)
            far.send(sent)
            assert await loop.sock_recv(near, 262_144) == sent


async def answered_in_order(theirs, tasks):
    for task, data in zip(tasks, (b"one", b"two"), strict=True):
        theirs.send(data)
        assert await task == data


@pytest.mark.penstock_only("asyncio's second takes the reader's place: the first never ends")
async def test_two_that_receive_at_a_time_both_end(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(loop.sock_recv(ours, 100)) for _ in range(2)]
    await asyncio.sleep(0)
    await answered_in_order(theirs, tasks)


@pytest.mark.penstock_only("asyncio counts items as bytes, and waits without end")
async def test_sendall_of_items_that_are_no_bytes(pair):
    ours, theirs = pair
    data = array.array("i", [1, 2])
    await asyncio.get_running_loop().sock_sendall(ours, data)
    assert theirs.recv(100) == data.tobytes()


async def test_sendall_of_what_has_gaps(pair):
    loop = asyncio.get_running_loop()
    for debug in (False, True):
        loop.set_debug(debug)
        with pytest.raises(
            BufferError, match="^memoryview: underlying buffer is not C-contiguous$"
        ):
            await loop.sock_sendall(pair[0], memoryview(b"a b c")[::2])


async def test_recv_into(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    buffer = bytearray(10)
    task = asyncio.create_task(loop.sock_recv_into(ours, memoryview(buffer)[2:]))
    await asyncio.sleep(0)
    theirs.send(b"hello")
    assert await task == 5
    assert buffer == b"\0\0hello\0\0\0"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_sendall_of_more_than_fits(pair, kind):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    data = bytes(range(256)) * 8192
    task = asyncio.create_task(loop.sock_sendall(ours, kind(data)))
    received = bytearray()
    while len(received) < len(data):
        received += await loop.sock_recv(theirs, 65536)
    assert await task is None
    assert received == data


async def test_sendall_of_nothing(pair):
    await asyncio.get_running_loop().sock_sendall(pair[0], b"")


async def test_sendall_to_one_that_has_left(pair):
    ours, theirs = pair
    theirs.close()
    with pytest.raises(BrokenPipeError):
        await asyncio.get_running_loop().sock_sendall(ours, b"anybody there?")


async def test_a_long_conversation(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()

    async def echo():
        while data := await loop.sock_recv(theirs, 100):
            await loop.sock_sendall(theirs, data)

    task = asyncio.create_task(echo())
    for number in range(500):
        message = b"%d" % number
        await loop.sock_sendall(ours, message)
        assert await loop.sock_recv(ours, 100) == message
    ours.shutdown(socket.SHUT_WR)
    await task


async def test_both_directions_at_once(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    data = b"x" * 1_000_000

    async def exchange(sock):
        sending = asyncio.create_task(loop.sock_sendall(sock, data))
        received = 0
        while received < len(data):
            received += len(await loop.sock_recv(sock, 65536))
        await sending

    await asyncio.gather(exchange(ours), exchange(theirs))


async def test_the_number_of_a_closed_socket_is_used_again():
    # The loop may remember a number; what it means can change behind its back.
    loop = asyncio.get_running_loop()
    for _ in range(5):
        ours, theirs = socket.socketpair()
        number = ours.fileno()
        with ours, theirs:
            ours.setblocking(False)
            task = asyncio.create_task(loop.sock_recv(ours, 10))
            await asyncio.sleep(0)
            theirs.send(b"hello")
            assert await task == b"hello"
        with socket.socket() as placeholder:
            assert placeholder.fileno() == number


@pytest.mark.parametrize("is_busy", [False, True])
async def test_another_file_behind_the_number_of_a_live_socket(pair, is_busy):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(loop.sock_recv(ours, 10))
    await asyncio.sleep(0)
    theirs.send(b"first")
    assert await task == b"first"
    later, their_later = socket.socketpair()
    with later, their_later:
        os.dup2(later.fileno(), ours.fileno())
        ours.setblocking(False)
        task = asyncio.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        their_later.send(b"second")
        for _ in range(10_000 if is_busy else 0):
            if task.done():
                break
            await asyncio.sleep(0)
        else:
            assert not is_busy
        assert await task == b"second"


async def test_what_nobody_receives_does_not_keep_the_loop_awake(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    for data in (b"one", b"two"):
        task = asyncio.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        theirs.send(data)
        assert await task == data
        theirs.send(b"unwanted")
        before = time.thread_time()
        await asyncio.sleep(0.2)
        assert time.thread_time() - before < 0.1
        assert await loop.sock_recv(ours, 10) == b"unwanted"


async def test_a_reader_between_two_waits_is_told_of_a_state(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    for _ in range(3):
        task = asyncio.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        theirs.send(b"to the task")
        assert await task == b"to the task"[:10]
        called = []
        done = loop.create_future()

        def on_ready(called=called, done=done):
            called.append(ours.recv(1))
            if len(called) == 3:
                loop.remove_reader(ours)
                done.set_result(None)

        loop.add_reader(ours, on_ready)
        theirs.send(b"un")
        await done
        assert called == [b"k", b"u", b"n"]


@pytest.mark.penstock_only("asyncio's second one takes the first one's place")
@pytest.mark.parametrize("is_first", ["reader", "wait"])
async def test_a_reader_and_a_wait_of_one_socket(pair, is_first):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    called = asyncio.Event()
    if is_first == "reader":
        loop.add_reader(ours, called.set)
    task = asyncio.create_task(loop.sock_recv(ours, 10))
    await asyncio.sleep(0)
    if is_first == "wait":
        loop.add_reader(ours, called.set)
    theirs.send(b"both hear")
    assert await task == b"both hear"
    await called.wait()
    called.clear()
    task = asyncio.create_task(loop.sock_recv(ours, 10))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    theirs.send(b"the other")
    await called.wait()
    assert ours.recv(10) == b"the other"
    task = asyncio.create_task(loop.sock_recv(ours, 10))
    await asyncio.sleep(0)
    assert loop.remove_reader(ours)
    assert not loop.remove_reader(ours)
    theirs.send(b"the wait")
    assert await task == b"the wait"


async def test_somebody_else_reads_what_a_wait_is_for(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(loop.sock_recv(ours, 10))
    for _ in range(5):
        await asyncio.sleep(0)
        theirs.send(b"stolen")
        assert ours.recv(10) == b"stolen"
    await asyncio.sleep(0)
    theirs.send(b"left")
    assert await task == b"left"


@pytest.mark.penstock_only("asyncio's selector still has the file that is closed")
async def test_the_number_of_a_socket_that_is_closed_in_a_wait(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    for _ in range(2):
        waiting = asyncio.create_task(loop.sock_recv(ours, 10))
        await asyncio.sleep(0)
        theirs.send(b"hello")
        assert await waiting == b"hello"
    waiting = asyncio.create_task(loop.sock_recv(ours, 10))
    await asyncio.sleep(0)
    number = ours.fileno()
    ours.close()
    with socket.socket() as placeholder:
        assert placeholder.fileno() == number
        later, their_later = socket.socketpair()
        with later, their_later:
            os.dup2(later.fileno(), number)
            placeholder.setblocking(False)
            task = asyncio.create_task(loop.sock_recv(placeholder, 10))
            await asyncio.sleep(0)
            their_later.send(b"later")
            assert await task == b"later"
    waiting.cancel()
    await asyncio.wait([waiting])


@pytest.mark.penstock_only("asyncio receives before it knows whether anybody still waits")
async def test_a_cancelled_recv_loses_nothing(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    for turns in range(6):
        task = asyncio.create_task(loop.sock_recv(ours, 100))
        await asyncio.sleep(0)
        theirs.send(b"precious")
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
            received = await loop.sock_recv(ours, 100)
        else:
            received = await task
        assert received == b"precious"


async def test_a_cancelled_wait_is_withdrawn(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await loop.sock_recv(ours, 100)
    assert loop.remove_reader(ours) in (True, False)
    called = []
    loop.add_reader(ours, lambda: (called.append(ours.recv(10)), loop.remove_reader(ours)))
    theirs.send(b"x")
    while not called:
        await asyncio.sleep(0)
    assert called == [b"x"]


async def test_a_cancelled_wait_keeps_no_socket(pair):
    ours = pair[0].dup()
    ours.setblocking(False)
    task = asyncio.create_task(asyncio.get_running_loop().sock_recv(ours, 100))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    gone = weakref.ref(ours)
    ours.close()
    del ours, task
    gc.collect()
    assert gone() is None


async def test_a_cancelled_wait_keeps_no_later_file_of_its_number(listening):
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(loop.sock_accept(listening))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    with socket.socket() as other:
        later = socket.socket(fileno=os.dup2(other.fileno(), listening.detach()))
    loop.add_reader(later, int)
    loop.remove_reader(later)
    gone = weakref.ref(later)
    later.close()
    del later
    gc.collect()
    assert gone() is None


@pytest.mark.penstock_only("asyncio's second takes the reader's place: the first never ends")
async def test_one_of_three_that_receive_is_cancelled(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(loop.sock_recv(ours, 100)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks.pop(1).cancel()
    await asyncio.sleep(0)
    await answered_in_order(theirs, tasks)


async def test_accept_and_connect(listening):
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(loop.sock_accept(listening))
    await asyncio.sleep(0)
    with socket.socket() as client:
        client.setblocking(False)
        assert await loop.sock_connect(client, listening.getsockname()) is None
        connection, address = await accepting
        with connection:
            assert address == client.getsockname()
            assert connection.getblocking() is False
            await loop.sock_sendall(client, b"hi")
            assert await loop.sock_recv(connection, 10) == b"hi"


async def test_accept_where_somebody_waits_already(listening):
    loop = asyncio.get_running_loop()
    with socket.create_connection(listening.getsockname()):
        connection, _ = await loop.sock_accept(listening)
        connection.close()


async def test_connect_resolves_names(listening):
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("localhost", listening.getsockname()[1]))
        assert client.getpeername() == listening.getsockname()


async def test_connect_to_a_unix_socket(tmp_path):
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.setblocking(False)
        await loop.sock_connect(client, path)
        assert client.getpeername() == path


async def test_connect_refused(unused_port):
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(ConnectionRefusedError) as caught:
            await loop.sock_connect(client, ("127.0.0.1", unused_port))
    assert caught.value.strerror == f"Connect call failed ('127.0.0.1', {unused_port})"


async def test_connect_refused_over_ipv6():
    with socket.socket(socket.AF_INET6) as taken, socket.socket(socket.AF_INET6) as client:
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6")
        port = taken.getsockname()[1]
        client.setblocking(False)
        with pytest.raises(ConnectionRefusedError) as caught:
            await asyncio.get_running_loop().sock_connect(client, ("::1", port))
    assert caught.value.strerror == f"Connect call failed ('::1', {port}, 0, 0)"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (("127.0.0.1",), ValueError),
        (["127.0.0.1", 1], ConnectionRefusedError),
        (("127.0.0.1", "no such service"), socket.gaierror),
        (("::1", 1), socket.gaierror),
        (("", 1), OSError),
        (1, TypeError),
    ],
)
async def test_connect_to_what_needs_a_look_or_is_no_address(address, error):
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(error):
            await asyncio.get_running_loop().sock_connect(client, address)


async def test_connect_that_is_over_at_once_leaves_others_a_turn(listening):
    loop = asyncio.get_running_loop()
    turns = []
    with socket.socket() as client:
        client.setblocking(False)
        loop.call_soon(turns.append, 1)
        await loop.sock_connect(client, listening.getsockname())
    assert turns


async def test_a_connect_that_is_under_way_is_cancelled(listening):
    with socket.socket() as client:
        client.setblocking(False)
        address = listening.getsockname()
        task = asyncio.create_task(asyncio.get_running_loop().sock_connect(client, address))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_connect_of_a_closed_socket(listening):
    client = socket.socket()
    client.setblocking(False)
    client.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await asyncio.get_running_loop().sock_connect(client, listening.getsockname())


async def test_connect_of_a_socket_that_blocks(listening):
    with socket.socket() as client:
        await asyncio.get_running_loop().sock_connect(client, listening.getsockname())
        assert client.getpeername() == listening.getsockname()


async def test_connect_of_a_connected_socket(listening):
    with socket.create_connection(listening.getsockname()) as client:
        client.setblocking(False)
        with pytest.raises(OSError, match="already connected"):
            await asyncio.get_running_loop().sock_connect(client, listening.getsockname())


@pytest.mark.penstock_only("asyncio takes it for connected")
async def test_connect_to_a_unix_socket_whose_backlog_is_full(tmp_path):
    loop = asyncio.get_running_loop()
    path = str(tmp_path / "socket")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(BlockingIOError):
        server.bind(path)
        server.listen(0)
        try:
            for client in clients:
                client.setblocking(False)
                await loop.sock_connect(client, path)
        finally:
            for client in clients:
                client.close()


async def test_connect_of_a_subclass_calls_its_own(listening):
    class Proxied(socket.socket):
        def connect(self, address):
            assert address == ("192.0.2.1", 1)
            super().connect(listening.getsockname())

    with Proxied() as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("192.0.2.1", 1))
        assert client.getpeername() == listening.getsockname()


async def test_connect_calls_what_was_put_into_the_class(listening, monkeypatch):
    def connect(sock, address):
        raise PermissionError(address)

    monkeypatch.setattr(socket.socket, "connect", connect, raising=False)
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(PermissionError):
            await asyncio.get_running_loop().sock_connect(client, listening.getsockname())


@pytest.mark.penstock_only("what is native there")
async def test_connect_is_native(listening):
    with socket.socket() as client:
        client.setblocking(False)
        connecting = asyncio.get_running_loop().sock_connect(client, listening.getsockname())
        assert type(connecting).__name__ == "SockCall"
        assert connecting.cr_frame is None and connecting.cr_await is None
        connecting.send(None)
        assert connecting.cr_await is None  # neither a future nor Python's own coroutine
        with pytest.raises(StopIteration):
            connecting.send(None)


async def test_connect_with_a_port_out_of_range():
    with socket.socket() as client:
        client.setblocking(False)
        with pytest.raises(OverflowError):
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", 70000))


def test_debug_mode_wants_sockets_that_do_not_block(run, pair):
    ours, _ = pair
    ours.setblocking(True)

    async def main():
        loop = asyncio.get_running_loop()
        for call in (
            loop.sock_recv(ours, 1),
            loop.sock_recv_into(ours, bytearray(1)),
            loop.sock_sendall(ours, b"x"),
            loop.sock_connect(ours, ("127.0.0.1", 1)),
            loop.sock_accept(ours),
        ):
            with pytest.raises(ValueError, match="^the socket must be non-blocking$"):
                await call

    run(main(), debug=True)


async def test_tls_sockets_are_refused():
    ssl = pytest.importorskip("ssl")
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    with context.wrap_socket(socket.socket(), do_handshake_on_connect=False) as sock:
        for call in (
            loop.sock_recv(sock, 1),
            loop.sock_sendall(sock, b"x"),
            loop.sock_connect(sock, ("127.0.0.1", 1)),
            loop.sock_accept(sock),
        ):
            with pytest.raises(TypeError, match="^Socket cannot be of type SSLSocket$"):
                await call


async def test_a_transports_socket_is_refused(listening):
    loop = asyncio.get_running_loop()
    sock = socket.create_connection(listening.getsockname())
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
    with pytest.raises(RuntimeError, match="^File descriptor .* is used by transport"):
        await loop.sock_recv(sock, 10)
    transport.close()
    await asyncio.sleep(0)


async def test_the_methods_of_a_subclass_of_socket_are_called():
    class Counting(socket.socket):
        calls = 0

        def recv(self, *args):
            self.calls += 1
            return super().recv(*args)

    theirs, plain = socket.socketpair()
    with theirs, Counting(fileno=plain.detach()) as ours:
        ours.setblocking(False)
        theirs.send(b"data")
        assert await asyncio.get_running_loop().sock_recv(ours, 10) == b"data"
        assert ours.calls == 1


@pytest.mark.penstock_only("asyncio blocks the loop")
async def test_a_socket_that_blocks_does_not_block_the_loop(pair):
    ours, theirs = pair
    ours.setblocking(True)
    task = asyncio.create_task(asyncio.get_running_loop().sock_recv(ours, 10))
    await asyncio.sleep(0)
    theirs.send(b"data")
    assert await task == b"data"


@pytest.mark.parametrize("name", ["sock_recv", "sock_recv_into", "sock_sendall"])
async def test_of_a_closed_socket(name):
    closed = socket.socket()
    closed.close()
    argument = {"sock_recv": 10, "sock_recv_into": bytearray(10), "sock_sendall": b"data"}[name]
    with pytest.raises(OSError, match="Bad file descriptor"):
        await getattr(asyncio.get_running_loop(), name)(closed, argument)


async def test_sizes(pair):
    ours, theirs = pair
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match="negative buffersize in recv"):
        await loop.sock_recv(ours, -1)
    with pytest.raises(TypeError):
        await loop.sock_recv(ours, "10")
    theirs.send(b"x" * 10_000)
    assert await loop.sock_recv(ours, 0) == b""
    assert len(await loop.sock_recv(ours, 1)) == 1
    assert len(await loop.sock_recv(ours, 4096)) == 4096
    assert len(await loop.sock_recv(ours, 1_000_000)) == 10_000 - 4097
    assert inspect.iscoroutinefunction(loop.sock_recv)


async def test_buffers_that_are_wrong(pair):
    loop = asyncio.get_running_loop()
    for buffer in (b"constant", memoryview(b"constant"), 5, None):
        kind = "None" if buffer is None else type(buffer).__name__
        with pytest.raises(TypeError, match=rf"^recv_into\(\) argument 1 must be .*, not {kind}$"):
            await loop.sock_recv_into(pair[0], buffer)
    for debug in (False, True):
        loop.set_debug(debug)
        for data in ("text", 5, None):
            kind = type(data).__name__
            with pytest.raises(TypeError, match=f"^a bytes-like object is required, not '{kind}'$"):
                await loop.sock_sendall(pair[0], data)


async def test_a_buffer_cannot_shrink_while_it_is_sent(pair):
    data = bytearray(3_000_000)
    task = asyncio.create_task(asyncio.get_running_loop().sock_sendall(pair[0], data))
    await asyncio.sleep(0)
    with pytest.raises(BufferError):
        data.clear()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    data.clear()


@pytest.mark.parametrize("data", [b"x", bytes(10_000_000)])
def test_of_a_closed_loop(new_loop, pair, data):
    ours, theirs = pair
    loop = new_loop()
    loop.close()
    sending = loop.sock_sendall(ours, data)
    with pytest.raises((StopIteration, RuntimeError)):  # what has to wait for it
        sending.send(None)
    assert theirs.recv(1) == data[:1]
