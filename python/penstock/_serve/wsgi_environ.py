"""The environment that a WSGI application gets of a request: PEP 3333."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

_BLOCK = 64 * 1024  # bytes of a file that are read at once
# A header "Proxy" would become HTTP_PROXY, which HTTP clients take for the proxy to use (httpoxy).
_DROPPED = frozenset({b"proxy"})
_KEYS: dict[bytes, str | None] = {}
_MOST_KEYS = 1024


def environ_of(scope: dict[str, Any], multiprocess: bool = False) -> dict[str, Any]:
    """Without wsgi.input; its texts hold bytes, as latin-1."""
    root = scope["root_path"].encode().decode("latin-1")
    target = scope["raw_path"]
    path = (unquote_to_bytes(target) if b"%" in target else target).decode("latin-1")
    if root and path.startswith(root):
        path = path[len(root) :]
    if not path.startswith("/") and not (root and not path):
        path = "/"  # of "OPTIONS *"
    host, port = scope["server"] or ("", None)
    if port is None:  # a Unix socket, of which no URL can be made
        host, port = "localhost", 443 if scope["scheme"] == "https" else 80
    address, peer_port = scope["client"] or ("", "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root,
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REQUEST_URI": _uri(scope),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_SOFTWARE": "penstock",
        "REMOTE_ADDR": address,
        "REMOTE_PORT": str(peer_port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,  # it ends where the body does, also without CONTENT_LENGTH
    }
    for name, value in scope["headers"]:
        key = _KEYS.get(name) or _key_of(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    return environ


def _uri(scope: dict[str, Any]) -> str:
    query: bytes = scope["query_string"]
    uri: bytes = scope["raw_path"] + b"?" + query if query else scope["raw_path"]
    return uri.decode("latin-1")


def _key_of(name: bytes) -> str | None:
    """The environment's name of a header.

    None for one with an underscore: it could not be told from one with a hyphen, and so pass for
    what a proxy has set.
    """
    if b"_" in name or name in _DROPPED:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = f"HTTP_{key}"
    if len(_KEYS) < _MOST_KEYS:
        _KEYS[name] = key
    return key


class FileWrapper:
    """wsgi.file_wrapper: the blocks of a file."""

    def __init__(self, file: Any, block_size: int = _BLOCK) -> None:
        self._file = file
        self._block_size = block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block: bytes = self._file.read(self._block_size)
        if not block:
            raise StopIteration
        return block
