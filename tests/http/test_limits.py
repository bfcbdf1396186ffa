"""Limits are on: how many clients there may be, and how long they may say nothing."""

import asyncio
import contextlib
import resource
import ssl
from types import SimpleNamespace

import pytest
import trustme
from penstock._serve import options, server
from penstock._serve.config import Config

from .conftest import hello

PROXY = b"PROXY TCP4 1.2.3.4 5.6.7.8 567 443\r\n"


@pytest.mark.parametrize(
    "name",
    [each.name for each in options.OPTIONS if each.group == "Limits"],
)
def test_each_is_on(name):
    has_bound = name != "timeout_request"  # how long an application takes is its own matter
    assert (getattr(Config(), name) > 0) == has_bound
    assert getattr(Config(**{name: None}), name) == getattr(Config(), name)


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [
        (1024, 1024 - options.RESERVE),
        (1 << 20, (1 << 20) - options.RESERVE),
        (options.RESERVE + 17, 17),
        (options.RESERVE, 16),
        (20, 16),
        (resource.RLIM_INFINITY, None),
    ],
)
def test_as_many_connections_as_there_may_be_descriptors(monkeypatch, descriptors, most):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (descriptors, 1 << 30))
    found = Config().limit_concurrency
    assert found == most if most is not None else found > 1 << 30
    assert Config(limit_concurrency=0).limit_concurrency == 0
    assert Config(limit_concurrency="7").limit_concurrency == 7


def test_those_that_are_told_fit_into_the_reserve():
    assert options.SURPLUS < options.RESERVE


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    path = tmp_path_factory.mktemp("tls") / "chain.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(path)
    return SimpleNamespace(path=str(path), context=context)


class Way:
    """What stands between a client and HTTP: "tls", "proxy", both or nothing."""

    def __init__(self, name, certificate):
        self.header = PROXY if "proxy" in name else b""
        self.context = certificate.context if "tls" in name else None
        self.options = {"proxy_protocol": "proxy" in name, "log_level": "critical"}
        if "tls" in name:
            self.options["ssl_certfile"] = certificate.path

    async def ask(self, serving):
        return await serving.first_line(self.context, self.header)


@pytest.fixture
def way(request, certificate):
    return Way(request.param, certificate)


WAYS = ["plain", "tls", "proxy", "proxy and tls"]
by_every_way = pytest.mark.parametrize("way", WAYS, indirect=True)


@contextlib.asynccontextmanager
async def silent(serving, count):
    """So many clients that have connected and say nothing."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(serving.client())
        yield


@pytest.fixture(params=["asgi", "aiohttp"])
def app(request):
    if request.param == "asgi":
        return hello
    web = pytest.importorskip("aiohttp.web")

    async def answer(request):
        return web.Response()

    made = web.Application()
    made.router.add_get("/", answer)
    return made


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("plain", b""),
        ("tls", b""),
        ("tls", b"\x16\x03\x01\x02\x00"),
        ("proxy", b""),
        ("proxy", PROXY[:9]),
        ("proxy and tls", b""),
        ("proxy and tls", PROXY),
    ],
    indirect=["way"],
)
async def test_who_says_nothing_more_is_closed_in_time(serve, way, says):
    async with serve(hello, timeout_head=0.1, **way.options) as serving:
        async with serving.client() as client, asyncio.timeout(20):
            await client.send(says)
            assert await client.ended() == b""


@by_every_way
async def test_without_a_bound_nobody_is_late(serve, way):
    async with serve(hello, timeout_head=0, **way.options) as serving, asyncio.timeout(20):
        assert await way.ask(serving) == b"HTTP/1.1 200 OK\r\n"


@by_every_way
async def test_who_says_nothing_counts(serve, app, way):
    """Before its header and amid its handshake too, and no longer once it has gone."""
    async with serve(app, limit_concurrency=2, **way.options) as serving, asyncio.timeout(20):
        async with silent(serving, 2):
            assert await way.ask(serving) == b"HTTP/1.1 503 Service Unavailable\r\n"
        while await way.ask(serving) != b"HTTP/1.1 200 OK\r\n":
            await asyncio.sleep(0.01)


@by_every_way
async def test_who_is_closed_for_its_silence_counts_no_longer(serve, way):
    options = {"limit_concurrency": 1, "timeout_head": 0.1, "timeout_linger": 0.1, **way.options}
    async with serve(hello, **options) as serving, silent(serving, 1), asyncio.timeout(20):
        while await way.ask(serving) != b"HTTP/1.1 200 OK\r\n":
            await asyncio.sleep(0.01)


@by_every_way
async def test_only_so_many_are_told_that_they_are_too_many(serve, way, monkeypatch):
    """Their connections are descriptors too. Those who come then are closed at once."""
    monkeypatch.setattr(server, "SURPLUS", 2)
    options = {"limit_concurrency": 1, "timeout_linger": 60, **way.options}
    async with serve(hello, **options) as serving, asyncio.timeout(20):
        async with silent(serving, 3):
            assert await way.ask(serving) == b""
        while await way.ask(serving) != b"HTTP/1.1 200 OK\r\n":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("app", ["aiohttp"], indirect=True)
@pytest.mark.parametrize("way", ["plain", "tls"], indirect=True)
async def test_so_it_is_whatever_the_application_speaks(serve, app, way, monkeypatch):
    from penstock._serve import aiohttp_app

    monkeypatch.setattr(aiohttp_app, "SURPLUS", 2)
    monkeypatch.setattr(aiohttp_app, "_LINGER", 60.0)
    options = {"limit_concurrency": 1, **way.options}
    async with serve(app, **options) as serving, silent(serving, 3), asyncio.timeout(20):
        assert await way.ask(serving) == b""


@pytest.mark.filterwarnings("error")
async def test_who_comes_to_a_unix_socket_and_is_not_let_in(serve, tmp_path, monkeypatch):
    """The socket has an object already, which warns of nothing."""
    monkeypatch.setattr(server, "SURPLUS", 0)

    class OnPath:
        def __init__(self, server):
            self.path = server.addresses[0]

    options = {"uds": str(tmp_path / "s"), "limit_concurrency": 1}
    async with serve(hello, OnPath, **options) as serving, asyncio.timeout(20):
        _, first = await asyncio.open_unix_connection(serving.path)
        reader, second = await asyncio.open_unix_connection(serving.path)
        assert await reader.read() == b""
        for writer in (first, second):
            writer.close()
            await writer.wait_closed()
