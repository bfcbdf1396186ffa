"""Random operations on a transport: asyncio and penstock must tell the same story.

Both ends are Unix datagram sockets, which lose nothing and block at the same point each time.
After each operation the loop runs until nothing more happens. Left out is what asyncio does wrong
(calls on a transport that is lost raise AttributeError), and an address of a wrong type behind a
queue: asyncio sees it when its turn comes, penstock at once.
"""

import asyncio
import random
import socket
import sys

import penstock
import pytest

STOCK = asyncio.selector_events._SelectorDatagramTransport
TURNS = 12


class Story(asyncio.DatagramProtocol):
    def __init__(self, told, rng):
        self.told = told
        self.rng = rng
        self.is_lost = False

    def connection_made(self, transport):
        self.transport = transport
        self.told.append("connection_made")

    def _react(self):
        """What protocols do in their callbacks."""
        choice = self.rng.random()
        if choice < 0.03:
            self.transport.close()
        elif choice < 0.05:
            self.transport.abort()
        elif choice < 0.08:
            self.transport.pause_reading()
        elif choice < 0.15:
            raise ZeroDivisionError

    def datagram_received(self, data, addr):
        self.told.append(("datagram_received", data))
        self._react()

    def error_received(self, exc):
        self.told.append(("error_received", type(exc).__name__))

    def pause_writing(self):
        self.told.append("pause_writing")
        self._react()

    def resume_writing(self):
        # Closed in here, asyncio's transport is lost twice.
        self.told.append("resume_writing")

    def connection_lost(self, exc):
        self.is_lost = True
        self.told.append(("connection_lost", type(exc).__name__))


async def tell(told, rng, near_path, far_path, connected):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(
        lambda _, context: told.append(("reported", type(context["exception"]).__name__))
    )
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far.bind(far_path)
    far.setblocking(False)
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Story(told, rng),
        family=socket.AF_UNIX,
        local_addr=near_path,
        remote_addr=far_path if connected else None,
    )
    address = None if connected else far_path

    def send():
        for _ in range(rng.randrange(1, 12)):
            if transport.is_closing() and not connected:
                return
            transport.sendto(bytes(rng.randrange(0, 300)), address)

    def receive():
        for _ in range(rng.randrange(1, 15)):
            try:
                told.append(("far", len(far.recv(1000))))
            except OSError as exc:
                told.append(("far", type(exc).__name__))
                return

    def answer():
        try:
            far.sendto(b"%d" % rng.randrange(100), near_path)
        except OSError as exc:
            told.append(("far", type(exc).__name__))

    def limit():
        high = rng.choice([0, 100, 1000, 5000])
        transport.set_write_buffer_limits(high=high, low=rng.randrange(high + 1))

    def send_to_nowhere():
        if not transport.is_closing() and not transport.get_write_buffer_size():
            transport.sendto(b"x", 42)

    async def settle():
        while True:
            before = len(told)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if len(told) == before:
                return

    operations = {
        send: 30,
        receive: 25,
        answer: 20,
        limit: 8,
        transport.pause_reading: 4,
        transport.resume_reading: 8,
        send_to_nowhere: 1,
        far.close: 1,
        transport.close: 1,
        transport.abort: 1,
    }
    for _ in range(60):
        (operation,) = rng.choices(list(operations), list(operations.values()))
        try:
            operation()
        except Exception as exc:
            told.append(type(exc).__name__)
        await settle()
        closing = transport.is_closing()
        told.append((closing, transport.is_reading()))
        # After an abort asyncio still counts what it has dropped.
        if not closing:
            told.append(transport.get_write_buffer_size())
        if protocol.is_lost:
            break
    if not protocol.is_lost:
        transport.abort()
    far.close()
    await settle()
    assert [each[0] for each in told if type(each) is tuple].count("connection_lost") == 1


@pytest.mark.skipif(
    sys.version_info >= (3, 13) and not hasattr(STOCK, "_header_size"),
    reason="this version of asyncio miscounts its queue",
)
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_the_same_story(seed, connected, tmp_path):
    stories = []
    for name, factory in (
        ("asyncio", asyncio.unix_events._UnixSelectorEventLoop),
        ("penstock", penstock.new_event_loop),
    ):
        told = []
        near, far = (str(tmp_path / f"{name}-{end}") for end in ("near", "far"))
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(tell(told, random.Random(seed), near, far, connected))
        stories.append(told)
    assert stories[1] == stories[0]
