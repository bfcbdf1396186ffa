"""A WebSocket client in bytes, for what no library's client would send; and servers for it.

It shares no code with the server: frames are made and read here as RFC 6455 and 7692 say.
"""

import base64
import hashlib
import os
import struct
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .conftest import Serving
from .conftest import serving as serving_any

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
DEFLATE = "permessage-deflate"


@dataclass
class Frame:
    opcode: int
    payload: bytes
    is_final: bool = True
    reserved: int = 0  # RSV1 to RSV3 as 4, 2 and 1

    @property
    def code(self):
        return struct.unpack(">H", self.payload[:2])[0] if self.payload else 1005

    @property
    def reason(self):
        return self.payload[2:].decode()


def mask(payload, key):
    whole = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(
        len(payload), "big"
    )


def frame(opcode, payload=b"", *, final=True, reserved=0, masked=True, length=None, width=None):
    """A client's frame; its `length`, in `width` bytes (0, 2, 8), may be not the payload's."""
    length = len(payload) if length is None else length
    if width is None:
        width = 0 if length < 126 else 2 if length < 1 << 16 else 8
    start = {0: length, 2: 126, 8: 127}[width]
    head = bytes([final << 7 | reserved << 4 | opcode, masked << 7 | start])
    if width:
        head += length.to_bytes(width, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + mask(payload, key)


def close(code, reason=b""):
    return frame(CLOSE, struct.pack(">H", code) + reason)


def deflated(payload, bits=15, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, -bits)
    data = packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert data.endswith(b"\0\0\xff\xff")
    return data[:-4]


def inflated(payload, bits=15):
    return zlib.decompressobj(-bits).decompress(payload + b"\0\0\xff\xff")


def request(path="/", *, key=KEY, version="13", extensions=None, protocol=None, fields=()):
    lines = [f"GET {path} HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"]
    if key is not None:
        lines.append(f"Sec-WebSocket-Key: {key}")
    if version is not None:
        lines.append(f"Sec-WebSocket-Version: {version}")
    if extensions is not None:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return ("\r\n".join([*lines, *fields]) + "\r\n\r\n").encode("latin-1")


class Client:
    """One connection, that has been upgraded or not."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def write(self, *pieces):
        self.writer.write(b"".join(pieces))

    async def send(self, *pieces):
        self.write(*pieces)
        await self.writer.drain()

    async def head(self):
        """(status, {name: value}) of a response."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            assert name.lower() not in fields, f"{name} stands there twice"
            fields[name.lower()] = value
        return int(lines[0].split()[1]), fields

    async def upgrade(self, path="/", **parts):
        """The fields of a response that has to be a 101."""
        await self.send(request(path, **parts))
        status, fields = await self.head()
        assert status == 101, status
        digest = hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert fields["sec-websocket-accept"] == base64.b64encode(digest).decode()
        assert fields["upgrade"] == "websocket" and fields["connection"] == "Upgrade"
        return fields

    async def frame(self):
        start, size = await self.reader.readexactly(2)
        assert not size & 0x80, "a server's frames are not masked"
        if size >= 126:
            width = 2 if size == 126 else 8
            long = int.from_bytes(await self.reader.readexactly(width), "big")
            assert long > 125 if width == 2 else long > 65535
            size = long
        payload = await self.reader.readexactly(size)
        return Frame(start & 15, payload, bool(start & 0x80), start >> 4 & 7)

    async def message(self):
        """(opcode, payload) of the next that is no control frame, inflated."""
        while (got := await self.frame()).opcode >= CLOSE:
            assert got.opcode == PING, got
            self.write(frame(PONG, got.payload))
        assert got.is_final
        return got.opcode, inflated(got.payload) if got.reserved == 4 else got.payload

    async def closing(self):
        """The close frame that has to come next, pings apart, and behind it the end."""
        while (got := await self.frame()).opcode in (PING, PONG):
            pass
        assert got.opcode == CLOSE, got
        self.write(frame(CLOSE, got.payload))
        if self.writer.can_write_eof():
            self.writer.write_eof()
        assert await self.reader.read() == b""
        return got


class WebSocketServing(Serving):
    client_kind = Client

    def url(self, path="/"):
        return f"ws://127.0.0.1:{self.port}{path}"

    @asynccontextmanager
    async def websocket(self, path="/", **parts):
        async with self.client() as client:
            await client.upgrade(path, **parts)
            yield client


def serving(app, **options):
    return serving_any(app, WebSocketServing, **{"access_log": False, **options})


async def echo(scope, receive, send):
    """Sends back what comes, until the client has gone."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})
