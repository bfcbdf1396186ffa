"""_clients.py PORT COUNT: that many HTTP clients at once; prints their answers and their time."""

import asyncio
import collections
import json
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def ask(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return f"{head.split()[1].decode()} {body.decode()}"


async def main(port: int, count: int) -> None:
    started = time.perf_counter()
    answers = await asyncio.gather(*(ask(port) for _ in range(count)))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "answers": collections.Counter(answers)}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
