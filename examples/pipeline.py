"""`a | b | c` with asyncio's subprocesses: three programs at once, joined by pipes.

`seq 1 100000 | grep 7 | wc -l`, and then the same with this program in the middle, which reads what
the first one writes line by line and passes on what it likes to the third.
"""

import asyncio
import os
from asyncio.subprocess import PIPE


async def joined_by_the_kernel() -> bytes:
    """Each program's output is the next one's input; nothing passes through this process."""
    first_out, first_in = os.pipe()
    second_out, second_in = os.pipe()
    numbers = await asyncio.create_subprocess_exec("seq", "1", "100000", stdout=first_in)
    os.close(first_in)
    sevens = await asyncio.create_subprocess_exec("grep", "7", stdin=first_out, stdout=second_in)
    os.close(first_out)
    os.close(second_in)
    count = await asyncio.create_subprocess_exec("wc", "-l", stdin=second_out, stdout=PIPE)
    os.close(second_out)
    output, _ = await count.communicate()
    print("exit codes:", *await asyncio.gather(numbers.wait(), sevens.wait(), count.wait()))
    return output.strip()


async def joined_by_hand() -> bytes:
    numbers = await asyncio.create_subprocess_exec("seq", "1", "100000", stdout=PIPE)
    count = await asyncio.create_subprocess_exec("wc", "-l", stdin=PIPE, stdout=PIPE)
    assert numbers.stdout is not None and count.stdin is not None and count.stdout is not None

    async def pass_on() -> None:
        async for line in numbers.stdout:
            if b"7" in line:
                count.stdin.write(line)
                await count.stdin.drain()
        count.stdin.close()

    _, output = await asyncio.gather(pass_on(), count.stdout.read())
    print("exit codes:", await numbers.wait(), await count.wait())
    return output.strip()


async def main() -> None:
    print("by the kernel:", (await joined_by_the_kernel()).decode())
    print("by hand:", (await joined_by_hand()).decode())
    shell = await asyncio.create_subprocess_shell("seq 1 100000 | grep 7 | wc -l", stdout=PIPE)
    output, _ = await shell.communicate()
    print("by the shell:", output.decode().strip())


if __name__ == "__main__":
    asyncio.run(main())
