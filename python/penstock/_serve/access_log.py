"""Access logs in a format of the operator's, and as JSON.

Atoms are those of gunicorn, `%(h)s` and `%({user-agent}i)s`, and those of Apache and aiohttp, `%h`
and `%{User-Agent}i`. The same letter may mean different things to the two: `%(a)s` is the user
agent, `%a` the client's address. Whatever a client can choose is escaped, so that it can neither
end its line nor the quotes that the format has put around it.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

access = logging.getLogger("penstock.access")

Headers = Iterable[tuple[bytes, bytes]]


class Entry(NamedTuple):
    """One request that has been answered."""

    scope: dict[str, Any]
    status: int
    sent: int  # bytes of the body
    seconds: float
    headers: Headers | None  # the response's, where the format asks for them


Atom = Callable[[Entry], str]


def _escapes() -> dict[int, str]:
    """As Apache does since 2.0.46; bytes that are no ASCII as such."""
    escapes = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 256))}
    escapes.update({ord('"'): '\\"', ord("\\"): "\\\\", 8: "\\b"})
    escapes.update({ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord("\v"): "\\v"})
    return escapes


_ESCAPES = _escapes()


def escaped(text: str) -> str:
    """Without quotes, backslashes and control characters of its own."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    plain = text.translate(_ESCAPES)
    return plain if plain.isascii() else plain.encode("ascii", "backslashreplace").decode()


# ---- atoms -----------------------------------------------------------------------------------


def _host(entry: Entry) -> str:
    client = entry.scope["client"]
    return escaped(client[0]) if client else "-"


def _dash(_: Entry) -> str:
    return "-"


def _user(entry: Entry) -> str:
    scheme, _, encoded = (_field(entry.scope["headers"], b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return "-"
    try:
        user = base64.b64decode(encoded.strip(), validate=True).partition(b":")[0]
    except (binascii.Error, ValueError):
        return "-"
    return escaped(user.decode("latin-1")) or "-"


def _time(entry: Entry) -> str:
    begun = time.localtime(time.time() - entry.seconds)
    return time.strftime("[%d/%b/%Y:%H:%M:%S %z]", begun)


def _method(entry: Entry) -> str:
    method: str = entry.scope.get("method", "GET")  # a websocket's has none
    return method


def _target(entry: Entry) -> str:
    path: bytes = entry.scope["raw_path"]
    query: bytes = entry.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _protocol(entry: Entry) -> str:
    return f"HTTP/{entry.scope['http_version']}"


def _request(entry: Entry) -> str:
    return escaped(f"{_method(entry)} {_target(entry)} {_protocol(entry)}")


def _field(headers: Headers, name: bytes) -> str | None:
    values = [value for each, value in headers if each.lower() == name]
    return b", ".join(values).decode("latin-1") if values else None


def _request_field(name: str) -> Atom:
    key = name.lower().encode("latin-1")

    def atom(entry: Entry) -> str:
        value = _field(entry.scope["headers"], key)
        return "-" if value is None else escaped(value)

    return atom


def _response_field(name: str) -> Atom:
    key = name.lower().encode("latin-1")

    def atom(entry: Entry) -> str:
        value = _field(entry.headers or (), key)
        return "-" if value is None else escaped(value)

    return atom


def _variable(name: str) -> Atom:
    return lambda _: escaped(os.environ.get(name, "-"))


_ATOMS: dict[str, Atom] = {
    "h": _host,
    "l": _dash,
    "u": _user,
    "t": _time,
    "r": _request,
    "m": lambda entry: escaped(_method(entry)),
    "U": lambda entry: escaped(entry.scope["raw_path"].decode("latin-1")),
    "q": lambda entry: escaped(entry.scope["query_string"].decode("latin-1")),
    "H": _protocol,
    "s": lambda entry: str(entry.status),
    "B": lambda entry: str(entry.sent),
    "b": lambda entry: str(entry.sent or "-"),
    "f": _request_field("referer"),
    "a": _request_field("user-agent"),
    "T": lambda entry: str(int(entry.seconds)),
    "M": lambda entry: str(int(entry.seconds * 1e3)),
    "D": lambda entry: str(int(entry.seconds * 1e6)),
    "L": lambda entry: f"{entry.seconds:.6f}",
    "p": lambda _: f"<{os.getpid()}>",
}
# What Apache's and aiohttp's letters mean where gunicorn's do not.
_BARE_ATOMS = {
    **_ATOMS,
    "a": _host,
    "P": lambda _: str(os.getpid()),
    "p": lambda entry: str((entry.scope["server"] or ("", "-"))[1] or "-"),
    "b": lambda entry: str(entry.sent),
    "Tf": lambda entry: f"{entry.seconds:.6f}",
    "O": lambda entry: str(entry.sent),
}
_OF_A_NAME = {"i": _request_field, "o": _response_field, "e": _variable}
_ATOM = re.compile(
    r"%(?:(?P<percent>%)"
    r"|\((?P<letter>[a-zA-Z])\)s"
    r"|\(\{(?P<name>[^{}]+)\}(?P<kind>[ioe])\)s"
    r"|\{(?P<bare_name>[^{}]+)\}(?P<bare_kind>[ioe])"
    r"|>?(?P<bare>Tf|[a-zA-Z]))?"
)


class Format:
    """What is logged of a request: call it as the native side does."""

    def __init__(self, text: str) -> None:
        """Raises ValueError, naming the first atom that is none."""
        self._text = text
        self._parts: list[str | Atom] = []
        self.needs_headers = False
        at = 0
        for found in _ATOM.finditer(text):
            self._parts += [text[at : found.start()], self._atom(found)]
            at = found.end()
        self._parts.append(text[at:])

    def _atom(self, found: re.Match[str]) -> str | Atom:
        if found["percent"]:
            return "%"
        name, kind = found["name"] or found["bare_name"], found["kind"] or found["bare_kind"]
        if name:
            self.needs_headers |= kind == "o"
            return _OF_A_NAME[kind](name)
        atom = _ATOMS.get(found["letter"] or "") or _BARE_ATOMS.get(found["bare"] or "")
        if atom is None:
            raise ValueError(f"must not have {found[0]!r}, which stands for nothing")
        return atom

    def __reduce__(self) -> tuple[type[Format], tuple[str]]:
        return Format, (self._text,)  # workers get it pickled

    def line(self, entry: Entry) -> str:
        """The entry's."""
        return "".join([part if isinstance(part, str) else part(entry) for part in self._parts])

    def __call__(
        self,
        scope: dict[str, Any],
        status: int,
        sent: int,
        seconds: float,
        headers: Headers | None = None,
    ) -> None:
        access.info("%s", self.line(Entry(scope, status, sent, seconds, headers)))


def format_of(text: str) -> Format:
    """An option's value. Raises ValueError."""
    return Format(text)


def log_json(
    scope: dict[str, Any], status: int, sent: int, seconds: float, headers: Headers | None = None
) -> None:
    """One object a line, in ASCII."""
    entry = Entry(scope, status, sent, seconds, headers)
    client = scope["client"]
    begun = datetime.fromtimestamp(time.time() - seconds, UTC)
    told = {
        "time": begun.isoformat(timespec="milliseconds"),
        "client": client[0] if client else None,
        "method": _method(entry),
        "scheme": scope["scheme"],
        "host": _field(scope["headers"], b"host"),
        "path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"),
        "protocol": _protocol(entry),
        "status": status,
        "bytes": sent,
        "seconds": round(seconds, 6),
        "referer": _field(scope["headers"], b"referer"),
        "user_agent": _field(scope["headers"], b"user-agent"),
    }
    access.info("%s", json.dumps(told, separators=(",", ":")))
