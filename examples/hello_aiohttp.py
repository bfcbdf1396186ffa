"""An aiohttp server whose handler takes a second; PORT says where it listens."""

import asyncio
import os

from aiohttp import web


async def handle(request: web.Request) -> web.Response:
    await asyncio.sleep(1)
    return web.Response(text="Hello, world")


app = web.Application()
app.router.add_get("/", handle)

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
