"""Descriptors run out under a server: it goes on when there are some again."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from .processes import command, request, until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def processor_seconds(process):
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("words", [[], ["--proxy-protocol"]], ids=["native", "proxy protocol"])
async def test_descriptors_run_out(tmp_path, words):
    begin = b"PROXY TCP4 1.2.3.4 5.6.7.8 567 443\r\n" if words else b""
    async with asyncio.timeout(20), command(tmp_path, *words) as server:
        port = await server.serves()
        process = server.process.pid
        fds = Path(f"/proc/{process}/fd")
        _, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
        before = os.listdir(fds)
        few = max(map(int, before)) + 4
        resource.prlimit(process, resource.RLIMIT_NOFILE, (few, hard))
        clients = []
        try:
            for _ in range(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(begin + GET)
                clients.append((reader, writer))
            answers = [asyncio.ensure_future(reader.read(15)) for reader, _ in clients]
            await server.logged("(?i)too many open files")
            done, waiting = await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
            assert done and waiting
            used, begun = processor_seconds(process), time.monotonic()
            await asyncio.sleep(0.3)  # in which it must not try again and again
            assert processor_seconds(process) - used < (time.monotonic() - begun) / 2
            for (_, writer), answer in zip(clients, answers, strict=True):
                if answer in done:
                    writer.close()
            resource.prlimit(process, resource.RLIMIT_NOFILE, (200, hard))
            for answer in answers:
                assert (await answer).startswith(b"HTTP/1.1 200 OK")
        finally:
            for _, writer in clients:
                writer.transport.abort()
        if not words:
            assert (await request(port)).startswith("1 ")
        await until(lambda: len(os.listdir(fds)) <= len(before), 5)
        await server.stop()
