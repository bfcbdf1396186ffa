"""TLS on loopback, both ends in one process: CPU time of an echo and of a handshake.

`tls.py LOOP SIZE SECONDS CERTIFICATES` is one measurement.
"""

import asyncio
import json
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import loops
import trustme
from rounds import Table, in_turns, measured

CONNECTIONS = 10

SIZES = {1024: "1 KiB", 65536: "64 KiB"}


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are not instances of it.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Asking(Echo):
    """Asks again with each whole answer, until told to stop."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.received = 0
        self.answers = 0
        self.is_over = False
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received < len(self.message):
            return
        self.received = 0
        self.answers += 1
        if not self.is_over:
            self.transport.write(self.message)
        elif not self.over.done():
            self.over.set_result(None)


async def main() -> None:
    loops.pin(0)
    size, seconds, folder = int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(folder / "server")
    client_context = ssl.create_default_context(cafile=str(folder / "authority"))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    message = bytes(size)

    async def connect() -> Asking:
        _, protocol = await loop.create_connection(
            lambda: Asking(message),
            "127.0.0.1",
            port,
            ssl=client_context,
            server_hostname="localhost",
        )
        return protocol

    asking = [await connect() for _ in range(CONNECTIONS)]
    await asyncio.sleep(seconds / 5)
    before = sum(one.answers for one in asking)
    begin = time.process_time()
    await asyncio.sleep(seconds)
    spent = time.process_time() - begin
    answers = sum(one.answers for one in asking) - before
    for one in asking:
        one.is_over = True
    await asyncio.gather(*[one.over for one in asking])

    handshakes = max(5, int(100 * seconds))
    begin = time.process_time()
    for _ in range(handshakes):
        (await connect()).transport.abort()
    handshake = (time.process_time() - begin) / handshakes
    print(json.dumps({"echo": spent / answers * 1e6, "handshake": handshake * 1e6}))


def measure(rounds: int, quick: bool) -> list[Table]:
    echoes = Table("TLS echo, both ends", "µs of CPU time a round trip")
    handshakes = Table("TLS handshake, both ends", "µs of CPU time")
    seconds = 0.1 if quick else 1.0
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(f"{folder}/authority")
        certificate = authority.issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(f"{folder}/server")

        def one(size: int, loop: str) -> None:
            found = measured(__file__, loop, size, seconds, folder)
            echoes.add(SIZES[size], loop, found["echo"])
            if size == min(SIZES):
                handshakes.add("TLS 1.3", loop, found["handshake"])

        in_turns(list(SIZES), rounds, one)
    return [echoes, handshakes]


if __name__ == "__main__":
    loops.run(sys.argv[1], main)
