"""Other people's clients and frameworks, unmodified."""

import asyncio
import random
import ssl

import aiohttp
import fastapi
import pytest
import trustme
import websockets
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.http.websocket_client import echo, serving


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_websockets(compression):
    async with serving(echo) as server:
        async with websockets.connect(server.url(), compression=compression) as client:
            for message in ("", "hällo" * 1000, b"\xff" * 100000):
                await client.send(message)
                assert await client.recv() == message
            await client.send(["frag", "men", "ted"])
            assert await client.recv() == "fragmented"
            await (await client.ping())
        assert client.close_code == 1000


@pytest.mark.parametrize("compress", [0, 15])
async def test_aiohttp(compress):
    async with serving(echo) as server, aiohttp.ClientSession() as session:
        async with session.ws_connect(server.url(), compress=compress) as client:
            assert client.compress == compress
            await client.send_str("hällo" * 1000)
            assert await client.receive_str() == "hällo" * 1000
            await client.send_bytes(bytes(100000))
            assert await client.receive_bytes() == bytes(100000)
        assert client.close_code == 1000


async def test_over_tls(tmp_path):
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    path = tmp_path / "chain.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    schemes = []

    async def app(scope, receive, send):
        schemes.append(scope["scheme"])
        await echo(scope, receive, send)

    async with serving(app, ssl_certfile=str(path)) as server:
        url = server.url().replace("ws:", "wss:")
        async with websockets.connect(url, ssl=context, max_size=None) as client:
            for message in ("hällo" * 1000, random.Random(1).randbytes(2 << 20)):
                await client.send(message)
                assert await client.recv() == message
        assert client.close_code == 1000
    assert schemes == ["wss"]


async def test_many_at_once():
    async def one(number):
        async with websockets.connect(server.url()) as client:
            for round in range(10):
                await client.send(f"{number} {round}" * 20)
                assert await client.recv() == f"{number} {round}" * 20

    async with serving(echo) as server:
        await asyncio.gather(*map(one, range(30)))


async def test_starlette():
    left = asyncio.get_running_loop().create_future()

    async def talk(websocket: WebSocket):
        await websocket.accept(subprotocol="chat")
        await websocket.send_json(
            {"path": websocket.url.path, "name": websocket.path_params["name"]}
        )
        try:
            while True:
                await websocket.send_text((await websocket.receive_text()).upper())
        except WebSocketDisconnect as error:
            left.set_result(error.code)

    async def deny(websocket: WebSocket):
        await websocket.send_denial_response(PlainTextResponse("not you", 401))

    app = Starlette(routes=[WebSocketRoute("/ws/{name}", talk), WebSocketRoute("/no", deny)])
    async with serving(app) as server:
        async with websockets.connect(server.url("/ws/me"), subprotocols=["chat"]) as client:
            assert client.subprotocol == "chat"
            assert await client.recv() == '{"path":"/ws/me","name":"me"}'
            await client.send("shout")
            assert await client.recv() == "SHOUT"
            await client.close(3001)
        assert await left == 3001
        for path, status in (("/no", 401), ("/nowhere", 403)):
            with pytest.raises(websockets.InvalidStatus) as raised:
                await websockets.connect(server.url(path))
            assert raised.value.response.status_code == status


async def test_fastapi():
    app = fastapi.FastAPI()

    @app.websocket("/items/{item}")
    async def items(websocket: fastapi.WebSocket, item: int, token: str | None = None):
        if token != "good":
            raise fastapi.WebSocketException(code=1008)
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_json([item, text])

    @app.get("/plain")
    async def plain():
        return "plain"

    async with serving(app) as server, aiohttp.ClientSession() as session:
        async with session.ws_connect(server.url("/items/5?token=good")) as client:
            await client.send_str("a")
            assert await client.receive_json() == [5, "a"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await session.ws_connect(server.url("/items/5?token=bad"))
        assert raised.value.status == 403
        async with session.get(server.url("/plain").replace("ws:", "http:")) as response:
            assert await response.json() == "plain"
