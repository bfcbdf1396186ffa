"""A UDP echo server and its client: datagrams that arrive, and one that nobody takes."""

import asyncio
from typing import cast


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


class Client(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answers.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self.answers.put_nowait(exc)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=address)
    for word in (b"hello", b"world"):
        transport.sendto(word)
        print("echoed:", await client.answers.get())
    right = 0
    for number in range(1000):
        transport.sendto(b"%d" % number)
        right += await client.answers.get() == b"%d" % number
    print(right, "of 1000 in order")
    server.close()
    await asyncio.sleep(0)
    transport.sendto(b"anybody?")
    print("the server is gone:", repr(await client.answers.get()))
    transport.close()


if __name__ == "__main__":
    asyncio.run(main())
