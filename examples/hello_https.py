"""An aiohttp server over TLS; PORT says where, CERTIFICATE is a PEM file with its key."""

import os
import ssl

from aiohttp import web


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"Hello, {request.scheme}")


async def count(request: web.Request) -> web.Response:
    """How much there was to read."""
    size = 0
    async for block in request.content.iter_any():
        size += len(block)
    return web.Response(text=str(size))


async def large(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for number in range(256):
        await response.write(bytes([number]) * 8192)
    return response


app = web.Application(client_max_size=0)
app.add_routes([web.get("/", hello), web.post("/count", count), web.get("/large", large)])

if __name__ == "__main__":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.environ["CERTIFICATE"])
    port = int(os.environ.get("PORT", "8443"))
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=context)
