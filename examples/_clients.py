"""_clients.py PORT COUNT [AUTHORITY]: as many HTTP clients at once; prints answers and time.

Over TLS if there is a file of certificates to trust.
"""

import asyncio
import collections
import json
import ssl
import sys
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def ask(port: int, tls: ssl.SSLContext | None) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(REQUEST)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return f"{head.split()[1].decode()} {body.decode()}"


async def main(port: int, count: int, authority: str | None = None) -> None:
    tls = ssl.create_default_context(cafile=authority) if authority else None
    started = time.perf_counter()
    answers = await asyncio.gather(*(ask(port, tls) for _ in range(count)))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "answers": collections.Counter(answers)}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
