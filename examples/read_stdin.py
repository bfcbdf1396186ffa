"""Answers each line of standard input, which is a pipe or a terminal, as it comes."""

import asyncio
import sys


async def main() -> None:
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print("ready", flush=True)
    async for line in lines:
        print("you said:", line.decode().rstrip("\n"), flush=True)
    print("end of input", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
