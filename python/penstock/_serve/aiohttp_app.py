"""An aiohttp.web.Application as it is: aiohttp's own protocol on the server's sockets.

aiohttp reads and answers HTTP itself, so that streams, WebSockets and everything else that it
offers are there. The server keeps what is around it: sockets, TLS, the PROXY protocol, signals, the
end of what is under way, the access log, proxy headers. Of the limits and deadlines aiohttp knows
those of a request's head and that between requests; those for a body that does not come and for a
client that takes nothing are the server's; the sizes of bodies are the application's matter
(client_max_size).
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from . import logs
from .config import Config, ServerError
from .proxies import ProxyHeaders

_SHORT = 0.001  # seconds; to aiohttp 0 is for ever
_LINGER = 2.0  # seconds that a refused client may take its answer in
_SURPLUS = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 20\r\n"
    b"connection: close\r\n\r\ntoo many connections"
)


class _Surplus(asyncio.Protocol):
    """A client that is one too many: told so, and closed."""

    def connection_made(self, transport: Any) -> None:
        transport.write(_SURPLUS)
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
        self._config = config
        self._shutdown: asyncio.Task[None] | None = None
        if config.header or not config.server_header:
            app.on_response_prepare.append(self._prepare)
        self._runner = web.AppRunner(
            app,
            shutdown_timeout=_SHORT,  # the server itself has waited
            keepalive_timeout=config.timeout_keep_alive or 3630.0,
            max_line_size=config.limit_target,
            max_field_size=config.limit_head,
            access_log_class=_access_log_class(config),
            access_log=logs.access if config.access_log and logs.access.isEnabledFor(20) else None,
        )
        self._server: Any = None
        # What each connection waited for at the last look, and since when.
        self._seen: dict[tuple[Any, str], tuple[int, float]] = {}

    async def startup(self) -> None:
        """Raises what the application's on_startup does."""
        await self._runner.setup()
        self._server = self._runner.server
        if self._config.proxy_headers:
            self._server.request_factory = self._behind_proxies(self._server.request_factory)

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
        most = self._config.limit_concurrency
        if most and self.connections >= most:
            return _Surplus()
        protocol: asyncio.BaseProtocol = self._server()
        return protocol

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
        """For a body that does not come, and a client that takes nothing: they are closed.

        aiohttp has timers of its own for what is before a request.
        """
        now = asyncio.get_running_loop().time()
        seen, self._seen = self._seen, {}
        for handler in list(self._server.connections):
            transport = handler.transport
            if transport is None:
                continue
            for state, allowed in (
                (_body_state(handler), self._config.timeout_body),
                (("taken", transport.get_write_buffer_size()), self._config.timeout_write),
            ):
                kind, amount = state
                if amount is None or (kind == "taken" and not amount):
                    continue  # nothing is waited for
                before, since = seen.get((handler, kind), (None, now))
                since = since if before == amount else now
                self._seen[handler, kind] = amount, since
                if allowed and now - since > allowed:
                    transport.abort()

    def metrics(self) -> None:
        """aiohttp counts nothing."""

    def drain(self, restarts: bool = False) -> None:
        """Close idle connections now and the others after their response; tell the application."""
        self._server.pre_shutdown()
        self._shutdown = asyncio.ensure_future(self.app.shutdown())

    def abort(self) -> None:
        """shutdown() follows, and sees to it."""

    # -- what aiohttp is told --

    async def _prepare(self, request: web.Request, response: web.StreamResponse) -> None:
        if not self._config.server_header:
            response.headers.popall("Server", None)
        for name, value in self._config.header:
            response.headers.add(name.decode("latin-1"), value.decode("latin-1"))

    def _behind_proxies(self, make: Any) -> Any:
        look = ProxyHeaders(
            self._config.forwarded_allow_ips, standard=self._config.forwarded_header
        )

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


def _body_state(handler: Any) -> tuple[str, int | None]:
    """How much of the body has come; None: there is none, or it is we who wait."""
    request = handler._current_request
    if request is None or getattr(handler, "_reading_paused", False):
        return "body", None
    body = request.content
    return "body", None if body.is_eof() else body.total_bytes


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
        "headers": [(name.lower(), value) for name, value in request._message.raw_headers],
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
