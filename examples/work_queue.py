"""RabbitMQ through aio-pika: a queue of work that three workers share, and answers to it."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
JOBS = 50


async def work(queue: str, ready: asyncio.Event) -> None:
    """Squares numbers until it is cancelled; fails once at each tenth, which then comes back."""
    connection = await aio_pika.connect_robust(URL)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=5)
        async with (await channel.get_queue(queue)).iterator() as jobs:
            ready.set()
            async for job in jobs:
                number = int(job.body)
                if number % 10 == 0 and not job.redelivered:
                    await job.reject(requeue=True)
                    continue
                answer = aio_pika.Message(
                    str(number**2).encode(), correlation_id=job.correlation_id
                )
                await channel.default_exchange.publish(answer, routing_key=job.reply_to or "")
                await job.ack()


def collector(
    answers: dict[str, int], complete: asyncio.Event
) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
    async def collect(answer: AbstractIncomingMessage) -> None:
        async with answer.process():
            answers[answer.correlation_id or ""] = int(answer.body)
            if len(answers) == JOBS:
                complete.set()

    return collect


async def main() -> None:
    async with await aio_pika.connect(URL) as connection:
        channel = await connection.channel(publisher_confirms=True)
        jobs = await channel.declare_queue(f"jobs-{os.getpid()}", auto_delete=True)
        replies = await channel.declare_queue(exclusive=True)

        answers: dict[str, int] = {}
        complete = asyncio.Event()
        await replies.consume(collector(answers, complete))
        ready = [asyncio.Event() for _ in range(3)]
        workers = [asyncio.create_task(work(jobs.name, event)) for event in ready]
        await asyncio.gather(*(event.wait() for event in ready))

        for number in range(JOBS):
            await channel.default_exchange.publish(
                aio_pika.Message(
                    str(number).encode(), correlation_id=str(number), reply_to=replies.name
                ),
                routing_key=jobs.name,
            )
        async with asyncio.timeout(30):
            await complete.wait()
        right = sum(answers[str(number)] == number**2 for number in range(JOBS))
        print(f"{right} of {JOBS} jobs done")

        for worker in workers:
            worker.cancel()
        ends = await asyncio.gather(*workers, return_exceptions=True)
        print("workers:", *(type(end).__name__ for end in ends))


if __name__ == "__main__":
    asyncio.run(main())
