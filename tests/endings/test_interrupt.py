"""SIGINT and SIGTERM after a delay of chance: at start-up, in calls of C, in callbacks, at the end.

A seed decides; PENSTOCK_INTERRUPTS=n tries each n times.
"""

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time

import penstock
import pytest

ROUNDS = int(os.environ.get("PENSTOCK_INTERRUPTS", "8"))
AT_ONCE = 4
SEED = 20240611
PATIENCE = 20

BUSY = """
    import asyncio, signal, socket, sys, time

    async def echo(reader, writer):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def talk(address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(bytes(100_000))
        await reader.readexactly(100_000)
        writer.close()
        await writer.wait_closed()

    async def work(turns):
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        while turns:
            turns -= 1
            await asyncio.gather(talk(address), asyncio.sleep(0.001))
            await loop.getaddrinfo("127.0.0.1", 80)
            await asyncio.gather(*[asyncio.sleep(0) for _ in range(100)])
            time.sleep(0.001)
        server.close()
        await server.wait_closed()
"""

PROGRAMS = {
    "for ever": "asyncio.run(work(-1))",
    "soon over": "asyncio.run(work(2))",
    "with a handler": """
    async def main():
        task = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await work(-1)
        except asyncio.CancelledError:
            sys.stdout.write("cancelled")
    asyncio.run(main())
    """,
    "stops its loop": """
    loop = asyncio.new_event_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, loop.stop)
    task = loop.create_task(work(-1))
    loop.run_forever()
    sys.stdout.write("stopped")
    task.cancel()
    try:
        loop.run_until_complete(task)
    except asyncio.CancelledError:
        pass
    loop.close()
    """,
}

# asyncio is no oracle here: on CPython 3.14 it was seen to hang, after two SIGINTs too. It looks up
# in threads of an executor, which the programs do without.
LAUNCHERS = {
    "penstock run": ["-m", "penstock", "run"],
    "runner": [],
}


@pytest.fixture(params=LAUNCHERS)
def command(request, tmp_path):
    path = tmp_path / "program.py"

    def command(program):
        source = textwrap.dedent(BUSY) + textwrap.dedent(PROGRAMS[program].replace("\n    ", "\n"))
        if request.param == "runner":
            source = "import penstock\n" + source.replace("asyncio.run", "penstock.run").replace(
                "asyncio.new_event_loop", "penstock.new_event_loop"
            )
        path.write_text(source)
        return [sys.executable, *LAUNCHERS[request.param], str(path)]

    return command


class Process:
    """A program that is signalled once its delay is over."""

    def __init__(self, command, place, sig, delay):
        self.signal = sig
        self.due = time.monotonic() + delay
        self.output, self.errors = place.with_suffix(".out"), place.with_suffix(".err")
        with self.output.open("w") as output, self.errors.open("w") as errors:
            self.process = subprocess.Popen(command, stdout=output, stderr=errors)

    def end(self):
        """Its status, output and errors."""
        time.sleep(max(0, self.due - time.monotonic()))
        self.process.send_signal(self.signal)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            # Python drops a KeyboardInterrupt here and there as it starts, or in the callback of a
            # weak reference, and says so. Its user would press Ctrl-C again.
            errors = self.errors.read_text()
            assert "KeyboardInterrupt" in errors and not is_ours(errors), f"lost: {errors}"
            self.process.send_signal(self.signal)
            status = self.process.wait(60)
        return status, self.output.read_text(), self.errors.read_text()

    def kill(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()


def duration(command):
    """How long a program that is soon over takes."""
    begin = time.monotonic()
    subprocess.run(command, check=True, timeout=60)
    return time.monotonic() - begin


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=lambda sig: sig.name)
@pytest.mark.parametrize("program", PROGRAMS)
def test_at_any_moment(command, tmp_path, program, sig):
    longest = min(duration(command("soon over")) for _ in range(2)) * 1.1
    chance = random.Random(f"{SEED} {program} {sig.name}")
    words = command(program)
    delays = [chance.uniform(0, longest) for _ in range(ROUNDS)]
    while delays:
        started = [
            Process(words, tmp_path / str(number), sig, delay)
            for number, delay in enumerate(delays[:AT_ONCE])
        ]
        del delays[:AT_ONCE]
        try:
            for process in started:
                status, output, errors = process.end()
                assert may_end_so(program, sig, status, output, errors), (status, output, errors)
        finally:
            for process in started:
                process.kill()


def may_end_so(program, sig, status, output, errors):
    if sig == signal.SIGINT and status == 1 and output == "":
        # CPython has words of its own for it while it starts, of which there are several. Its
        # runner forgets an interrupt that comes as it has set its handler and not yet its count
        # to 0: the task is cancelled before its first step.
        if re.search(r"\n *async def \w+\(.*\):\nasyncio.exceptions.CancelledError\n$", errors):
            return program != "stops its loop"
        # So it is where an ImportError was about to be made, as by `ssl` for want of RAND_egd.
        if errors.endswith("\nTypeError: expected a message argument\n"):
            return True
        return "KeyboardInterrupt" in errors and not is_ours(errors)
    if program == "soon over" and status == 0:
        return output == ""
    # A Ctrl-C that CPython has told of and dropped as it started still makes its status in the end.
    good = {0, -sig} if "KeyboardInterrupt" in errors and not is_ours(errors) else {0}
    if program == "stops its loop" and output == "stopped":
        return status in good
    if program == "with a handler" and output == "cancelled":
        return status in good  # asyncio.run() cancels the main task where Ctrl-C is pressed
    # It was not the program's to handle yet.
    return status == -sig and output == ""


def is_ours(errors):
    """Whether penstock or the program, not the interpreter alone, was interrupted."""
    ours = os.path.dirname(penstock.__file__), "program.py", "penstock runs without"
    return any(each in errors for each in ours)
