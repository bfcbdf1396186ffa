"""An aiohttp.web.Application as it is: aiohttp's own protocol on the server's sockets.

aiohttp reads and answers HTTP itself, so that streams, WebSockets and everything else that it
offers are there. The server keeps what is around it: sockets, TLS, the PROXY protocol, signals, the
end of what is under way, the access log, proxy headers, the limits and deadlines of a head, between
requests, of a body that does not come or comes too slowly, and of a client that takes too little.

What is aiohttp's alone: a target, a field or a number of fields beyond the limit is answered with
400, for its parser knows no 414 and no 431; the sizes of bodies are the application's matter
(client_max_size), those of chunk extensions and trailers go by limit_target, limit_head and
limit_fields, and there is no timeout_request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from . import logs
from .aiohttp_connection import Connection, answer
from .config import Config, ServerError
from .options import SURPLUS
from .proxies import ProxyHeaders

_SHORT = 0.001  # seconds; to aiohttp 0 is for ever
_LINGER = 2.0  # seconds that a refused client may take its answer in
_NEVER = 1e9  # seconds: Connection has deadlines of its own


class _Surplus(asyncio.Protocol):
    """A client that is one too many: told so, and closed."""

    def connection_made(self, transport: Any) -> None:
        transport.write(answer(503, "too many connections"))
        if transport.can_write_eof():
            transport.write_eof()
        loop = asyncio.get_running_loop()
        self._end = loop.call_later(_LINGER, transport.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end.cancel()


class AiohttpAdapter:
    """What a server has for one such application: its protocol factory, and its lifespan.

    As a protocol factory it has what _core.HttpServer has.
    """

    state = None

    def __init__(self, app: web.Application, config: Config) -> None:
        """Raises ServerError for options that only other applications can have."""
        if config.static:
            raise ServerError("static: an aiohttp application has router.add_static() for files")
        self.app = app
        self.config = config
        self.is_draining = False
        self._shutdown: asyncio.Task[None] | None = None
        if config.header or not (config.server_header and config.date_header):
            app.on_response_prepare.append(self._prepare)
        self._runner = web.AppRunner(
            app,
            shutdown_timeout=_SHORT,  # the server itself has waited
            keepalive_timeout=_NEVER,
            max_line_size=config.limit_target,
            max_field_size=config.limit_head,
            max_headers=config.limit_fields,
            access_log_class=_access_log_class(config),
            access_log=logs.access if config.access_log and logs.access.isEnabledFor(20) else None,
        )
        self._server: Any = None
        self.count_accepted: Callable[[], int] = lambda: 0  # which the server knows

    async def startup(self) -> None:
        """Raises what the application's on_startup does."""
        await self._runner.setup()
        self._server = self._runner.server
        make = self._server.request_factory
        if self.config.proxy_headers:
            make = self._behind_proxies(make)

        def factory(message: Any, body: Any, connection: Connection, *rest: Any) -> Any:
            request = make(message, body, connection, *rest)
            connection.begin(request, body)
            return request

        handle = self._server.request_handler

        def handler(request: Any) -> Any:
            return (_refused if request.protocol.has_too_long_head else handle)(request)

        self._server.request_factory = factory
        self._server.request_handler = handler

    async def shutdown(self) -> bool:
        """Cancel what is still under way, and clean up."""
        if self._shutdown is not None:
            await asyncio.wait([self._shutdown])
        if self._server is not None:
            await self._server.shutdown(_SHORT)
        await self.app.cleanup()
        return True

    # -- as a protocol factory --

    def __call__(self) -> asyncio.BaseProtocol:
        most = self.config.limit_concurrency
        count = max(self.connections, self.count_accepted()) if most else 0
        if most and count >= most + SURPLUS:
            raise ConnectionRefusedError("too many connections")
        if most and count >= most:
            return _Surplus()
        return Connection(self, self._server, **self._server._kwargs)

    @property
    def connections(self) -> int:
        return len(self._server.connections)

    @property
    def running(self) -> int:
        """The application's on_shutdown, while it runs: handlers are their connection's."""
        return int(self._shutdown is not None and not self._shutdown.done())

    @property
    def requests(self) -> int:
        count: int = self._server.requests_count
        return count

    def check_deadlines(self) -> None:
        """Close the connections that take longer than they may."""
        now = asyncio.get_running_loop().time()
        for connection in self._server.connections:
            connection.check(now)

    def metrics(self) -> None:
        """aiohttp counts nothing."""

    def drain(self, restarts: bool = False) -> None:
        """Close connections after their response, or when they are idle; tell the application."""
        self.is_draining = True
        self._shutdown = asyncio.ensure_future(self.app.shutdown())

    def abort(self) -> None:
        """shutdown() follows, and sees to it."""

    # -- what aiohttp is told --

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        if not self.config.server_header:
            response.headers.popall("Server", None)
        if not self.config.date_header:
            response.headers.popall("Date", None)
        for name, value in self.config.header:
            response.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def _behind_proxies(self, make: Any) -> Any:
        look = ProxyHeaders(self.config.forwarded_allow_ips, standard=self.config.forwarded_header)

        def factory(message: Any, *rest: Any) -> Any:
            request = make(message, *rest)
            headers = message.headers
            if (
                "X-Forwarded-For" in headers
                or "X-Forwarded-Proto" in headers
                or "Forwarded" in headers
            ):
                scope = scope_of(request)
                before = dict(scope)
                look(scope)
                if scope["client"] != before["client"] or scope["scheme"] != before["scheme"]:
                    remote = scope["client"][0] if scope["client"] else None
                    return request.clone(scheme=scope["scheme"], remote=remote)
            return request

        return factory


async def _refused(request: web.BaseRequest) -> web.Response:
    response = web.Response(status=431, text="the head is too long")
    response.force_close()
    return response


def scope_of(request: Any) -> dict[str, Any]:
    """What logs and proxy headers look at, as ASGI has it."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
    if request.remote and (client is None or client[0] != request.remote):
        client = (request.remote, 0)
    path, _, query = request.raw_path.partition("?")
    return {
        "type": "http",
        "client": client,
        "server": None,
        "scheme": request.scheme,
        "method": request.method,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query.encode("utf-8", "surrogateescape"),
        "http_version": f"{request.version.major}.{request.version.minor}",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
    }


def _access_log_class(config: Config) -> type[AbstractAccessLogger]:
    log = logs.access_logger(config)

    class AccessLogger(AbstractAccessLogger):
        """What aiohttp makes of a request, in the server's format."""

        def log(self, request: Any, response: Any, time: float) -> None:
            headers = [
                (name.lower().encode("latin-1"), value.encode("utf-8", "surrogateescape"))
                for name, value in response.headers.items()
            ]
            body = getattr(response, "body_length", 0)
            more = (headers,) if getattr(log, "needs_headers", False) else ()
            log(scope_of(request), response.status, body, time, *more)

    return AccessLogger
