"""A Tornado server; PORT says where it listens."""

import asyncio
import os

import tornado.web


class Hello(tornado.web.RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0.1)
        self.write("Hello, world")


async def main() -> None:
    app = tornado.web.Application([("/", Hello)])
    app.listen(int(os.environ.get("PORT", "8888")), "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
