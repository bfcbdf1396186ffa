"""Child processes, which end with the call that was to make them."""

import asyncio
from asyncio.subprocess import PIPE

from ..scenario import scenario


async def end(process):
    if process is None:
        return
    if process.returncode is None:
        process.kill()
    await process.wait()


@scenario("subprocess_exec")
async def subprocess_exec(stage):
    made = yield stage.loop.subprocess_exec(asyncio.SubprocessProtocol, "cat")
    if made is not None:
        made[0].close()


@scenario("subprocess_shell")
async def subprocess_shell(stage):
    made = yield stage.loop.subprocess_shell(asyncio.SubprocessProtocol, "exec cat")
    if made is not None:
        made[0].close()


@scenario("Process")
async def create_subprocess_exec(stage):
    await end((yield asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)))


@scenario("Process")
async def wait(stage):
    process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
    yield process.wait(), process.stdin.close
    await end(process)


@scenario("Process")
async def communicate(stage):
    process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
    yield process.communicate(bytes(1 << 20))
    if process.returncode is None:
        process.kill()
        await process.communicate()  # what is read no further is waited for as well
