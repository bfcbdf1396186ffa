"""A UDP server that echoes, and clients that ask again when an answer does not come in time."""

import asyncio

SECONDS_TO_ANSWER = 0.2


class Echo(asyncio.DatagramProtocol):
    """Ignores each datagram when it first comes: UDP may lose any."""

    def __init__(self) -> None:
        self.seen: set[tuple[object, bytes]] = set()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if (address, data) in self.seen:
            self.transport.sendto(data, address)
        self.seen.add((address, data))


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.refused = asyncio.Event()
        self.closed = asyncio.Event()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.answers.put_nowait(data)

    def error_received(self, error: OSError) -> None:
        self.refused.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()


async def ask(address: tuple[str, int], question: bytes) -> tuple[bytes, int]:
    """The answer, and how often it had to be asked."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=address)
    tries = 0
    while True:
        tries += 1
        transport.sendto(question)
        try:
            answer = await asyncio.wait_for(client.answers.get(), SECONDS_TO_ANSWER)
        except TimeoutError:
            continue
        transport.close()
        await client.closed.wait()
        return answer, tries


async def main() -> None:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    questions = [b"question %d" % number for number in range(100)]
    answers = await asyncio.gather(*(ask(address, question) for question in questions))
    print("100 answers:", [answer for answer, _ in answers] == questions)
    print("each asked for twice:", min(tries for _, tries in answers) == 2)
    large, _ = await ask(address, b"x" * 60_000)
    print("a large one:", len(large), "bytes")

    server.close()
    await asyncio.sleep(0)
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=address)
    transport.sendto(b"anyone?")
    await asyncio.wait_for(client.refused.wait(), 30)
    print("nobody is there")
    transport.close()
    await client.closed.wait()


if __name__ == "__main__":
    asyncio.run(main())
