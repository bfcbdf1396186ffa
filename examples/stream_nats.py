"""NATS through nats-py: publish and subscribe, request and reply, and a stream that is stored."""

import asyncio
import os

import nats
from nats.aio.msg import Msg
from nats.errors import NoRespondersError, TimeoutError

URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
NAME = f"examples-{os.getpid()}"


async def double(request: Msg) -> None:
    await request.respond(b"%d" % (int(request.data) * 2))


async def main() -> None:
    client = await nats.connect(URL, allow_reconnect=False)
    numbers = await client.subscribe(f"{NAME}.numbers.*")
    for number in range(1000):
        await client.publish(f"{NAME}.numbers.{number}", b"%d" % number)
    got = [int((await numbers.next_msg(timeout=30)).data) for _ in range(1000)]
    print(f"{len(got)} messages, in order: {got == sorted(got)}")
    await numbers.unsubscribe()

    await client.subscribe(f"{NAME}.double", cb=double)
    replies = await asyncio.gather(
        *(client.request(f"{NAME}.double", b"%d" % n, timeout=30) for n in range(100))
    )
    print("the sum of 100 replies:", sum(int(reply.data) for reply in replies))
    try:
        await client.request(f"{NAME}.nobody", b"", timeout=30)
    except NoRespondersError:
        print("nobody responds")

    stream = client.jetstream()
    await stream.add_stream(name=NAME, subjects=[f"{NAME}.stored"])
    try:
        for number in range(100):
            await stream.publish(f"{NAME}.stored", b"x" * number)
        pulled = await stream.pull_subscribe(f"{NAME}.stored", durable="reader")
        stored = 0
        for message in await pulled.fetch(100, timeout=30):
            await message.ack()
            stored += len(message.data)
        print(f"{stored} bytes stored and read back")
        try:
            await pulled.fetch(1, timeout=0.2)
        except TimeoutError:
            print("nothing more is stored")
        await pulled.unsubscribe()
    finally:
        await stream.delete_stream(NAME)
    await client.drain()


if __name__ == "__main__":
    asyncio.run(main())
