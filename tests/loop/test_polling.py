"""A loop that is busy with nothing but scheduling is told of events all the same, and soon."""

import asyncio
import os
import signal
import threading

import pytest

# More than enough for a loop to find that nothing ever comes.
MANY = 200


async def spin(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


async def turns_until(happened, most):
    for turn in range(1, most + 1):
        await asyncio.sleep(0)
        if happened():
            return turn
    pytest.fail(f"nothing in {most} turns")


class Protocol(asyncio.Protocol):
    def __init__(self):
        self.received = b""
        self.is_over = False

    def data_received(self, data):
        self.received += data

    def eof_received(self):
        self.is_over = True


@pytest.fixture
def connect(pair):
    async def connect():
        loop = asyncio.get_running_loop()
        return [await loop.create_connection(Protocol, sock=sock) for sock in pair]

    return connect


@pytest.mark.parametrize("spun", range(MANY, MANY + 10))
async def test_what_a_transport_sends_is_there_in_the_next_turn(connect, spun):
    (ours, _), (theirs, protocol) = await connect()
    await spin(spun)
    ours.write(b"first")
    assert await turns_until(lambda: protocol.received == b"first", 10) <= 2
    await spin(spun)
    ours.write_eof()
    assert await turns_until(lambda: protocol.is_over, 10) <= 2
    ours.close()
    theirs.close()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize("spun", range(MANY, MANY + 10))
async def test_what_sock_sendall_sends_is_there_in_the_next_turn(pair, spun):
    loop = asyncio.get_running_loop()
    ours, theirs = pair
    seen = []
    loop.add_reader(theirs, lambda: seen.append(theirs.recv(10)))
    await spin(spun)
    await loop.sock_sendall(ours, b"data")
    assert await turns_until(lambda: seen == [b"data"], 10) <= 2
    loop.remove_reader(theirs)


async def test_what_the_program_sends_by_itself_is_there_in_a_few_turns(pair):
    loop = asyncio.get_running_loop()
    ours, theirs = pair
    seen = []
    loop.add_reader(theirs, lambda: seen.append(theirs.recv(10)))
    for spun in range(MANY, MANY + 10):
        await spin(spun)
        ours.send(b"data")
        await turns_until(lambda: seen == [b"data"], 10)
        seen.clear()
    loop.remove_reader(theirs)


async def test_a_new_reader_is_told_in_the_next_turn(pair):
    loop = asyncio.get_running_loop()
    ours, theirs = pair
    ours.send(b"data")
    seen = []
    loop.add_reader(ours, lambda: None)  # the loop has to look
    await spin(MANY)
    loop.add_reader(theirs, lambda: seen.append(theirs.recv(10)))
    assert await turns_until(lambda: seen == [b"data"], 10) <= 2
    loop.remove_reader(ours)
    loop.remove_reader(theirs)


async def test_a_signal_and_another_thread_get_through(pair):
    loop = asyncio.get_running_loop()
    loop.add_reader(pair[0], lambda: None)
    await spin(MANY)
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "signal")
    os.kill(os.getpid(), signal.SIGUSR1)
    await turns_until(lambda: seen == ["signal"], 20)
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(seen.append, "thread"))
    await spin(MANY)
    thread.start()
    thread.join()
    assert await turns_until(lambda: seen == ["signal", "thread"], 10) <= 2
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_reader(pair[0])
