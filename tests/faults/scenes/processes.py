"""Pipes and processes."""

import asyncio
import contextlib
import os

from .ends import Listener, aborting
from .scene import scene


@scene
async def pipes(short):
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    ends = [Listener(), Listener()]
    with open(read_end, "rb", 0) as source, open(write_end, "wb", 0) as target:
        with aborting([ends[1]]):
            try:
                with short:
                    await loop.connect_read_pipe(lambda: ends[0], source)
                    await loop.connect_write_pipe(lambda: ends[1], target)
                    repr(ends[0].transport), repr(ends[1].transport)
                    ends[1].transport.write(b"x" * 200_000)
                    short.expect(await ends[0].until(lambda it: len(it.received) == 200_000))
                    ends[1].transport.close()
                    await ends[0].until(lambda it: it.ended)
            finally:
                if ends[0].transport is not None:
                    ends[0].transport.close()


@scene
async def a_process(short):
    process = None
    try:
        with short:
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            if process.stdin is None:  # its protocol, which was reported, had no room
                raise MemoryError
            output, _ = await process.communicate(b"x" * 1000)
            short.expect(output == b"x" * 1000 and await process.wait() == 0)
    finally:
        if process is not None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=0.2)
            process._transport.close()
