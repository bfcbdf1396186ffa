"""The ground of a soak of the HTTP server: servers in the loop of their clients.

"plain", "local" (a Unix socket) and "tls" are as any server, "hasty" has deadlines that are soon
over, "wsgi" runs an application in threads.
"""

import asyncio
import contextlib
import logging
import re
import ssl
from collections import Counter
from unittest import mock

import penstock
import trustme
import websockets

from tests.http import hostile
from tests.http.conftest import Client, serving
from tests.soak.application import HASTE, NUMBERS, WSGI_THREADS, Application
from tests.soak.ground import Ground, Streams

TICK = 0.05  # seconds between looks at the deadlines, lest few of them are met
FILLING = 16  # lines of each of the heads that fill what a server keeps of them
HASTY = {
    **dict.fromkeys(("timeout_head", "timeout_body", "timeout_keep_alive"), HASTE),
    **dict.fromkeys(("timeout_write", "timeout_linger", "timeout_request"), HASTE),
    **dict.fromkeys(("ws_ping_interval", "ws_ping_timeout", "ws_close_timeout"), HASTE),
}
ENDS_AS_ASKED = ("/cancelled", "/wait")  # their end is an error to the server, and wanted here


class Site(Ground):
    async def prepare(self) -> None:
        self._prepare_folder()
        chain = self._prepare_certificates()
        self._prepare_log()
        self.props.enter_context(mock.patch("penstock._serve.server._TICK", TICK))
        self.app = Application(self.data, self.file)
        self.path = str(self.folder / "socket")
        usual = {"access_log": True, "static": [f"/static={self.folder}"]}
        self.servers = {
            "plain": await self._serve(self.app, **usual),
            "local": await self._serve(self.app, uds=self.path, **usual),
            "tls": await self._serve(self.app, ssl_certfile=chain, **usual),
            "hasty": await self._serve(self.app, **HASTY),
            "wsgi": await self._serve(self.app.wsgi, wsgi_threads=WSGI_THREADS, lifespan="on"),
        }
        await self._start_threads()
        for way in self.servers:
            await self._fill_caches(way)

    def _prepare_certificates(self) -> str:
        authority = trustme.CA()
        self.client_tls = ssl.create_default_context()
        authority.configure_trust(self.client_tls)
        chain = self.folder / "chain.pem"
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(chain))
        return str(chain)

    def _prepare_log(self) -> None:
        """Each request makes a line, which nobody reads."""
        access = logging.getLogger("penstock.access")
        access.setLevel(logging.INFO)
        self.props.callback(access.setLevel, logging.NOTSET)

    async def _serve(self, app: object, **options: object) -> penstock.Server:
        options = {"access_log": False, "timeout_graceful_shutdown": 5, **options}
        return await self.props.enter_async_context(serving(app, lambda server: server, **options))

    async def _start_threads(self) -> None:
        """Those of WSGI: all of them have a request at once."""

        async def attend() -> None:
            async with self.client("wsgi") as client:
                await client.send(b"GET /meet HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await client.response())[0] == 200

        await asyncio.gather(*(attend() for _ in range(WSGI_THREADS)))

    async def _fill_caches(self, way: str) -> None:
        """A server keeps lines of heads, and what it knows of addresses in them, up to a bound:
        that much before the first job, lest it is seen to grow."""
        async with self.client(way) as client:
            for number in range(NUMBERS):
                lines = [b"X-Forwarded-For: 192.0.2.1, 10.0.0.%d" % number]
                lines += [b"X-Fill: %d" % (number * FILLING + each) for each in range(FILLING)]
                head = b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines, b"", b""])
                client.writer.write(head)
            for _ in range(NUMBERS):
                assert (await client.response())[0] == 200

    def is_expected(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        path = re.search(r" in \w+ (/\w+)", record.getMessage())
        return isinstance(error, hostile.Asked) or (path and path[1] in ENDS_AS_ASKED)

    def summary(self) -> str:
        total: Counter[str] = Counter()
        for server in self.servers.values():
            counts = server.measure()
            total.update({name: n for name, n in counts.items() if isinstance(n, int)})
        return (
            f"The servers had {total['accepted']:,} connections, {total['requests']:,} requests, "
            f"of which {total['lost']:,} clients did not wait for the end, and "
            f"{total['websockets_accepted']:,} WebSockets; they have received "
            f"{total['received_bytes'] >> 20:,} MiB and sent {total['sent_bytes'] >> 20:,} MiB."
        )

    # ---- the clients' side ------------------------------------------------------------------

    def port(self, way: str) -> int:
        return self.servers[way].addresses[0][1]

    async def open(self, way: str) -> Streams:
        if way == "local":
            return await asyncio.open_unix_connection(self.path)
        options = {"ssl": self.client_tls, "server_hostname": "localhost"} if way == "tls" else {}
        return await asyncio.open_connection("127.0.0.1", self.port(way), **options)

    async def open_websocket(
        self, way: str, path: str, **options: object
    ) -> websockets.ClientConnection:
        """By the library that others use."""
        if way == "local":
            return await websockets.unix_connect(self.path, f"ws://a{path}", **options)
        if way == "tls":
            options |= {"ssl": self.client_tls, "server_hostname": "localhost"}
        scheme = "wss" if way == "tls" else "ws"
        url = f"{scheme}://127.0.0.1:{self.port(way)}{path}"
        return await websockets.connect(url, proxy=None, **options)

    @contextlib.asynccontextmanager
    async def client(self, way: str, kind=Client):
        async with self.connection(way) as streams:
            yield kind(*streams)
