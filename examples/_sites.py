"""Web servers on loopback for the scraper: a good one, a slow one, one that resets, one that fails.

_sites.py [CERTIFICATE WRONG]: over TLS with the first one, a PEM file with its key, and a fifth
server, which is good but has a wrong one. Prints their ports, then serves until its standard input
ends.
"""

import asyncio
import socket
import ssl
import struct
import sys

PAGE = b"x" * 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + PAGE
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
SECONDS_OF_THE_SLOW_ONE = 1.0


class Site(asyncio.Protocol):
    answer = OK

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self.request()

    def request(self) -> None:
        self.transport.write(self.answer)


class Slow(Site):
    def request(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(SECONDS_OF_THE_SLOW_ONE, self.transport.write, self.answer)


class Reset(Site):
    def request(self) -> None:
        linger = struct.pack("ii", 1, 0)
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()


class Failing(Site):
    answer = ERROR


def tls(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


async def main(certificates: list[str]) -> None:
    loop = asyncio.get_running_loop()
    # Who ends a handshake is one of the fates here, nothing to be told of.
    loop.set_exception_handler(lambda loop, context: None)
    right, wrong = map(tls, certificates) if certificates else (None, None)
    kinds: list[tuple[type[Site], ssl.SSLContext | None]] = [
        (Site, right),
        (Slow, right),
        (Reset, right),
        (Failing, right),
    ]
    if wrong is not None:
        kinds.append((Site, wrong))
    servers = [
        await loop.create_server(site, "127.0.0.1", 0, backlog=4096, ssl=context)
        for site, context in kinds
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
