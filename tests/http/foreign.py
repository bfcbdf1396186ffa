"""What h11 and httptools (llhttp) make of a connection's bytes, and what penstock does.

A reading is the messages that are complete, up to the first that ends the connection or upgrades
it, and how it ended.
"""

from dataclasses import dataclass, field
from enum import Enum

import h11
import httptools
from penstock._core import _http1_events


class Ending(Enum):
    WAITING = "it waits for more"
    REFUSED = "it refuses what follows"
    CLOSED = "it takes nothing more"  # what follows a message that closes, or is upgraded


@dataclass
class Message:
    method: bytes
    target: bytes
    version: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    keeps_alive: bool = True
    upgrades: bool = False  # it asks for another protocol, or is a CONNECT


@dataclass
class Reading:
    messages: list[Message] = field(default_factory=list)
    ending: Ending = Ending.WAITING
    why: str = ""


def by_penstock(data: bytes, limits: dict[str, int] | None = None) -> Reading:
    reading = Reading()
    for kind, *values in _http1_events([data], limits):
        if kind == "head":
            method, target, minor, fields, _, _, keeps_alive, _, upgrade = values
            fields = [(name.lower(), value) for name, value in fields]
            message = Message(
                method,
                target,
                b"1.%d" % minor,
                fields,
                keeps_alive=keeps_alive,
                upgrades=upgrade != b"" or method == b"CONNECT",
            )
        elif kind == "data":
            message.body += values[0]
        elif kind == "trailers":
            message.trailers = [(name.lower(), value) for name, value in values[0]]
        elif kind == "end":
            reading.messages.append(message)
            if not message.keeps_alive or message.upgrades:
                reading.ending = Ending.CLOSED
                break
        elif kind == "refused":
            reading.ending, reading.why = Ending.REFUSED, f"{values[0]} {values[1]}"
    return reading


def by_h11(data: bytes) -> Reading:
    reading = Reading()
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    message = None
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                break
            if isinstance(event, h11.Request):
                message = Message(
                    event.method, event.target, event.http_version, list(event.headers)
                )
            elif isinstance(event, h11.Data):
                message.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                message.trailers = list(event.headers)
                message.upgrades = connection.their_state is h11.MIGHT_SWITCH_PROTOCOL
                # It is told no, and then reads on: a 2xx would be a tunnel to a CONNECT.
                connection.send(h11.Response(status_code=400, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                message.keeps_alive = connection.their_state is h11.DONE
                reading.messages.append(message)
                if not message.keeps_alive:
                    reading.ending = Ending.CLOSED
                    break
                connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        reading.ending, reading.why = Ending.REFUSED, str(error)
    return reading


class _Llhttp:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.parser = httptools.HttpRequestParser(self)
        self.is_over = False

    def on_message_begin(self) -> None:
        self.message = Message(b"", b"", b"", [])
        self.has_head = False

    def on_url(self, target: bytes) -> None:
        self.message.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self.message.trailers if self.has_head else self.message.fields
        fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.has_head = True
        self.message.method = self.parser.get_method()
        self.message.version = self.parser.get_http_version().encode()
        self.message.keeps_alive = self.parser.should_keep_alive()
        self.message.upgrades = self.parser.should_upgrade()

    def on_body(self, data: bytes) -> None:
        self.message.body += data

    def on_message_complete(self) -> None:
        if self.is_over:
            return
        self.reading.messages.append(self.message)
        self.is_over = not self.message.keeps_alive or self.message.upgrades


def by_llhttp(data: bytes) -> Reading:
    reading = Reading()
    receiver = _Llhttp(reading)
    try:
        receiver.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        receiver.is_over = True
    except httptools.HttpParserError as error:
        reading.ending, reading.why = Ending.REFUSED, f"{type(error).__name__}: {error}"
    if receiver.is_over:
        reading.ending, reading.why = Ending.CLOSED, ""
    return reading
