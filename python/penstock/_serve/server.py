"""One server in this process: sockets, lifespan, signals, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import ssl
import sys
from collections.abc import Iterable
from typing import Any

from penstock import _core
from penstock._runner import run
from penstock.loop import Loop

from . import application, files, logs, metrics, systemd, tls
from .certificates import Certificates
from .config import Config, ServerError, without_effect, workers
from .lifespan import Lifespan
from .options import SURPLUS
from .proxies import Peers, ProxyHeaders
from .proxy_protocol import NO_BOUND, Front

_TICK = 0.5  # seconds between looks at the deadlines
_POLL = 0.05  # seconds between looks at what is still under way


def listen(config: Config) -> list[socket.socket]:
    """The sockets that the options name, bound. Raises ServerError where one can't be had."""
    if config.fd is not None:
        try:
            return [socket.socket(fileno=os.dup(config.fd))]
        except OSError as error:
            raise ServerError(f"fd {config.fd} is no socket: {error.strerror}") from None
    if config.uds is not None:
        return [_unix_socket(config.uds)]
    if passed := systemd.listen_fds():
        return [socket.socket(fileno=fd) for fd in passed]
    try:
        found = socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ServerError(f"host {config.host!r} can't be found: {error.strerror}") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sockets.append(_tcp_socket(family, kind, protocol, address))
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def bound(
    family: int, kind: int, protocol: int, address: Any, *, reuse_port: bool = False
) -> socket.socket:
    """A TCP socket. Raises OSError where it can't have the address."""
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def _tcp_socket(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    try:
        return bound(family, kind, protocol, address)
    except OSError as error:
        raise ServerError(
            f"can't listen on {address[0]} port {address[1]}: {error.strerror}; "
            "is another server running there? (--port)"
        ) from None


def _unix_socket(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        try:
            made.bind(path)
        except OSError:
            if not _is_abandoned(path):
                raise
            os.unlink(path)
            made.bind(path)
    except OSError as error:
        made.close()
        raise ServerError(f"can't listen on {path}: {error.strerror}") from None
    return made


def _is_abandoned(path: str) -> bool:
    """Whether a socket lies there that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def location(bound: socket.socket, config: Config) -> str:
    """Where a socket listens, to be told to the operator."""
    scheme = "https" if config.ssl_certfile else "http"
    address = bound.getsockname()
    if isinstance(address, str):
        return f"unix socket {address}"
    host = f"[{address[0]}]" if bound.family == socket.AF_INET6 else address[0]
    return f"{scheme}://{host}:{address[1]}"


class Server:
    """Serves an application in the running loop, which has to be penstock's.

    `app` is an application or its name, `module:attribute`; the options are those of
    `penstock serve`, with underscores: docs/reference/serve.md.
    """

    def __init__(self, app: Any, **options: Any) -> None:
        """Raises ServerError for an option that is none, or can't be."""
        self.config = Config(**options)
        self.sockets: list[socket.socket] = []
        self._app = app
        self._should_exit = asyncio.Event()
        self._signals: list[int] = []
        self._is_forced = False
        self._restarts = False
        self._native: _core.HttpServer | None = None
        self._acceptors: list[Any] = []
        self._certificates: Certificates | None = None
        self.purpose = "serves on"

    @property
    def running(self) -> int:
        """Calls of the application that have not returned."""
        return self._native.running if self._native is not None else 0

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return self._native.connections if self._native is not None else 0

    @property
    def addresses(self) -> list[Any]:
        """Where it listens, as getsockname() has it; once serve() has begun."""
        return [each.getsockname() for each in self.sockets]

    def stop(self, *, restarts: bool = False) -> None:
        """Let serve() end: nothing more is accepted, and what is under way is finished.

        WebSockets are closed with 1001, or, where another server takes over, with 1012.
        """
        self._restarts = restarts
        self._should_exit.set()

    async def serve(
        self, sockets: Iterable[socket.socket] | None = None, *, started: Any = None
    ) -> None:
        """Serve until stop(), or until it is cancelled.

        `sockets` are bound ones, instead of those that the options name. `started`, a future, gets
        the server as its result once it accepts connections.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, Loop):
            raise ServerError(
                "the server needs penstock's loop: penstock.run(…), or penstock.install() before "
                "asyncio.run(…)"
            )
        config = self.config
        self._certificates = Certificates(config, tls.ssl_context)
        app = application.load(self._app, config)
        self.sockets = list(sockets) if sockets is not None else listen(config)
        # aiohttp speaks HTTP itself, and has a lifespan of its own.
        speaks_http = hasattr(app, "check_deadlines")
        lifespan = app if speaks_http else Lifespan(app, config.lifespan)
        exporter = metrics.Exporter(config, self._measured)
        try:
            await exporter.start()
            await lifespan.startup()
            native = app
            if not speaks_http:
                native = _core.HttpServer(loop, app, self._options(lifespan.state))
            self._native = native
            self._acceptors = await self._accept(loop, native, self._certificates.context)
            if speaks_http:
                app.count_accepted = self._count_accepted
            self._tell_ready()
            if started is not None and not started.done():
                started.set_result(self)
            try:
                await self._wait(native)
            finally:
                self._tell_stopping()
                for acceptor in self._acceptors:
                    acceptor.close()
                await self._drain(native)
        finally:
            for each in self.sockets:
                each.close()
            await lifespan.shutdown()
            await exporter.stop()

    def measure(self) -> metrics.Counts | None:
        """What HttpServer.metrics() tells; None before it serves."""
        return self._native.metrics() if self._native is not None else None

    def reload_certificates(self) -> None:
        """New connections get what the files have now; where that can't be used nothing changes."""
        if self._certificates is not None and self.config.ssl_certfile:
            self._use_certificates(self._certificates.reloaded())

    def _use_certificates(self, context: ssl.SSLContext | None) -> None:
        if context is not None:
            for acceptor in self._acceptors:
                acceptor._secure_with(context)

    def _count_accepted(self) -> int:
        """Connections, those among them whose handshake is under way."""
        count: int = sum(acceptor._counted_clients for acceptor in self._acceptors)
        return count

    def _measured(self) -> list[metrics.Worker]:
        return [metrics.Worker("0", self.measure(), metrics.resident_bytes())]

    def _tell_ready(self) -> None:
        for each in self.sockets:
            logs.server.info("penstock %s %s", self.purpose, location(each, self.config))

    def _tell_stopping(self) -> None:
        """Nothing more is accepted from now on."""

    async def _accept(self, loop: Loop, native: Any, context: ssl.SSLContext | None) -> list[Any]:
        """What accepts on the sockets: close() lets it end."""
        config = self.config
        for each in self.sockets:
            if config.limit_write_buffer and each.family != socket.AF_UNIX:
                # What is accepted inherits it. What the kernel takes in of a response it cuts up
                # for a client's window: a small one makes a large response dear.
                each.setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, config.limit_write_buffer
                )
        handshake = config.timeout_head or NO_BOUND
        if not config.proxy_protocol:
            return [
                await loop.create_server(
                    native,
                    sock=each,
                    backlog=config.backlog,
                    ssl=context,
                    ssl_handshake_timeout=handshake if context is not None else None,
                )
                for each in self.sockets
            ]
        front = Front(
            loop,
            native,
            Peers(config.proxy_protocol_allow_ips),
            context=context,
            backlog=config.backlog,
            timeout=config.timeout_head,
        )
        for each in self.sockets:
            front.listen(each)
        return [front]

    async def _wait(self, native: _core.HttpServer) -> None:
        most = self.config.limit_max_requests
        if most:
            most += random.randint(0, self.config.limit_max_requests_jitter)
        while not self._should_exit.is_set():
            try:
                async with asyncio.timeout(_TICK):
                    await self._should_exit.wait()
            except TimeoutError:
                native.check_deadlines()
                if self._certificates is not None:
                    self._use_certificates(self._certificates.changed())
            if most and native.requests >= most:
                logs.server.warning("%d requests have been served: the server ends", most)
                return

    async def _drain(self, native: _core.HttpServer) -> None:
        native.drain(restarts=self._restarts)
        # Those too that are amid TLS's handshake, of which `native` does not know yet.
        gone = [asyncio.ensure_future(acceptor.wait_closed()) for acceptor in self._acceptors]
        try:
            await self._wait_for_ends(native, gone)
        finally:
            for each in gone:
                each.cancel()
        native.abort()
        for acceptor in self._acceptors:
            acceptor.abort_clients()
        for _ in range(3):  # a turn each for the tasks' ends and the connections'
            await asyncio.sleep(0)

    async def _wait_for_ends(
        self, native: _core.HttpServer, gone: list[asyncio.Future[None]]
    ) -> None:
        loop = asyncio.get_running_loop()
        allowed = self.config.timeout_graceful_shutdown
        end = loop.time() + allowed if allowed else float("inf")
        while not self._is_forced:
            is_busy = native.connections or native.running
            if not is_busy and all(each.done() for each in gone):
                return
            if loop.time() >= end:
                logs.server.error(
                    "%d connections were cut off and %d tasks cancelled: they had not ended %g s "
                    "after the server was told to",
                    native.connections,
                    native.running,
                    allowed,
                )
                return
            left = [each for each in gone if not each.done()]
            await (asyncio.wait(left, timeout=_POLL) if left else asyncio.sleep(_POLL))
            native.check_deadlines()

    def _options(self, state: dict[str, Any] | None) -> dict[str, Any]:
        config = self.config
        logs_access = config.access_log and logs.access.isEnabledFor(20)
        log_access = logs.access_logger(config) if logs_access else None
        forwarded = None
        if config.proxy_headers:
            forwarded = ProxyHeaders(config.forwarded_allow_ips, standard=config.forwarded_header)
        return {
            **vars(config),
            "limit_connections": config.limit_concurrency,
            "surplus_connections": SURPLUS,
            "headers": config.header,
            "takes_websockets": config.ws != "none",
            "server_header": b"penstock" if config.server_header else None,
            "state": state,
            "open_file": files.open_file,
            "describe_tls": tls.describe(self._certificates),
            "extensions": {
                "http.response.trailers": {},
                "http.response.early_hint": {},
                "http.response.debug": {},
                "http.response.pathsend": {},
                "http.response.zerocopysend": {},
            },
            "log_access": log_access,
            "forwarded": forwarded,
            "log_headers": getattr(log_access, "needs_headers", False),
            "log_error": logs.log_error,
        }

    def _on_signal(self, number: int) -> None:
        self._signals.append(number)
        self._is_forced = len(self._signals) > 1
        systemd.notify("STOPPING=1")
        self.stop()

    async def serve_until_signal(self, sockets: Iterable[socket.socket] | None = None) -> None:
        """The same, and SIGINT or SIGTERM ends it: the first one gracefully, a second at once.

        With TLS, SIGHUP reloads the certificates. systemd is told, where it wants to know.
        """
        loop = asyncio.get_running_loop()
        handlers: dict[int, Any] = {
            number: lambda number=number: self._on_signal(number)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        if self.config.ssl_certfile:
            handlers[signal.SIGHUP] = self.reload_certificates
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        started = loop.create_future()
        started.add_done_callback(lambda _: systemd.notify("READY=1"))
        try:
            await self.serve(sockets, started=started)
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    @property
    def signal(self) -> int | None:
        """The signal that has ended it."""
        return self._signals[0] if self._signals else None


def serve(app: Any, **options: Any) -> None:
    """Serve an application until SIGINT or SIGTERM.

    `app` and the options are as for Server; with `workers` or `reload` it has to be a name. Raises
    ServerError for what can't be served, and SystemExit where workers fail in another way.
    """
    server = Server(app, **options)
    logs.configure(server.config)
    for each in without_effect(server.config):
        logs.server.info("%s", each)
    count = workers(server.config)
    if count:
        from .supervisor import supervise

        number = supervise(app, server.config, count)
    else:
        run(server.serve_until_signal())
        number = server.signal
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number is not None:
        sys.stdout.flush()
        signal.raise_signal(number)
