"""Servers in the test's own loop, spoken to over real sockets."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress

import penstock
import pytest
import trustme


@pytest.fixture(params=["penstock"])
def new_loop(request):
    return penstock.new_event_loop


class Client:
    """One connection, in bytes."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces):
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def response(self, head=False):
        """(status, {name: value}, body) of the next response."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        assert version == "HTTP/1.1"
        fields = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            assert name.lower() not in fields or name.lower() == "link", (
                f"{name} stands there twice"
            )
            fields[name.lower()] = value
        status = int(status)
        if head or status < 200 or status in (204, 304):
            return status, fields, b""
        return status, fields, await self._body(fields)

    async def _body(self, fields):
        if "content-length" in fields:
            return await self.reader.readexactly(int(fields["content-length"]))
        if fields.get("transfer-encoding") != "chunked":
            return await self.reader.read()
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.decode().strip().partition(": ")
            fields[name] = value
        return body

    async def ended(self):
        """What comes until the server has closed its half."""
        return await self.reader.read()


class Serving:
    client_kind = Client

    def __init__(self, server):
        self.server = server
        self.port = server.addresses[0][1]

    @asynccontextmanager
    async def client(self, tls=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)
        try:
            yield self.client_kind(reader, writer)
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except (ConnectionError, ssl.SSLError):
                pass

    async def get(self, request=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", head=False):
        """The response to one request, on a connection of its own."""
        async with self.client() as client:
            await client.send(request)
            return await client.response(head)

    async def first_line(self, tls=None, before=b""):
        """Of a response, on a connection of its own; nothing where the server has none for it.

        `before` goes out before TLS's handshake.
        """
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        writer = None
        try:
            await loop.sock_connect(sock, ("127.0.0.1", self.port))
            await loop.sock_sendall(sock, before)
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=tls, server_hostname="localhost" if tls is not None else None
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return await reader.readline()
        except OSError:  # ssl.SSLError is one
            return b""
        finally:
            if writer is None:
                sock.close()
            else:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()


@asynccontextmanager
async def serving(app, kind=Serving, **options):
    options = {"host": "127.0.0.1", "port": 0, "lifespan": "off", **options}
    server = penstock.Server(app, **options)
    started = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(server.serve(started=started))
    try:
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            yield kind(server)
    finally:
        server.stop()
        await task


@pytest.fixture
def serve():
    return serving


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"Hello, world"})


async def echo(scope, receive, send):
    whole = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        whole += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["raw_path"] + whole})


@pytest.fixture
def secured(tmp_path):
    """A server's options for TLS, and a client's context."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    chain = tmp_path / "chain.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(chain))
    return {"ssl_certfile": str(chain)}, context
