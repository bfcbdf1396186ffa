"""Certificates that change while the server runs.

The files are looked at now and then; no signal is needed. A new context is made of all of them: the
connections of the old one keep it, and where it can't be made nothing changes.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

from . import logs
from .config import Config, ServerError

# Behind them, or before, their key may stand, which is nobody's to be told.
_CERTIFICATE = re.compile(
    r"-----BEGIN ([A-Z0-9 ]*CERTIFICATE)-----.*?-----END \1-----\n?", re.DOTALL
)
_Look = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """Those of one server. `make` makes a context of the options, as at the start."""

    def __init__(self, config: Config, make: Callable[[Config], ssl.SSLContext | None]) -> None:
        """Raises ServerError where a file can't be used."""
        self._config = config
        self._make = make
        self._used = self._last = self._look()
        # As texts: what an application is told of its connection, which may be one of before.
        self._chains: WeakKeyDictionary[ssl.SSLContext, str] = WeakKeyDictionary()
        self.context = self._made()

    def changed(self) -> ssl.SSLContext | None:
        """A new context, once the files are others than those in use, and have come to rest."""
        look = self._look()
        is_at_rest = look == self._last
        self._last = look
        return self.reloaded() if is_at_rest and look != self._used else None

    def reloaded(self) -> ssl.SSLContext | None:
        """A new context of what the files have now; None, and a line in the log, where it fails."""
        self._used = self._last = self._look()
        try:
            self.context = self._made()
        except (ServerError, OSError) as error:
            logs.server.error("The certificates that were in use stay: %s", error)
            return None
        logs.server.info("Certificates reloaded from %s", self._config.ssl_certfile)
        return self.context

    def chain_of(self, context: ssl.SSLContext) -> str | None:
        """The certificates of a connection that has this context, PEM."""
        return self._chains.get(context)

    def _made(self) -> ssl.SSLContext | None:
        context = self._make(self._config)
        if context is not None:
            text = Path(self._config.ssl_certfile).read_text("ascii", "replace")
            self._chains[context] = "".join(found[0] for found in _CERTIFICATE.finditer(text))
        return context

    def _look(self) -> _Look:
        config = self._config
        files = (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs)
        return tuple(_state(path) for path in files if path is not None)


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
