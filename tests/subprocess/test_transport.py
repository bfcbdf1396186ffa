"""loop.subprocess_exec(): the transport, what it tells its protocol, and how it ends."""

import asyncio
import contextvars
import gc
import logging
import os
import re
import signal
import subprocess
import warnings

import pytest

from .conftest import Recorder, ends


async def ended(transport, protocol):
    await asyncio.wait_for(protocol.lost, 10)
    transport.close()


@pytest.mark.usefixtures("way")
class TestCalls:
    async def test_in_order(self, execute):
        transport, protocol = await execute("sh", "-c", "echo out; echo err >&2", stdin=None)
        await ended(transport, protocol)
        calls = protocol.calls
        assert calls[0] == "connection_made" and calls[-1] == "connection_lost"
        for fd in (1, 2):
            assert [c for c in calls if c in (("data", fd), ("lost", fd))] == [
                ("data", fd),
                ("lost", fd),
            ]
        assert calls.count("exited") == 1
        assert protocol.data == {1: b"out\n", 2: b"err\n"}

    async def test_stdin_too(self, execute):
        transport, protocol = await execute("cat")
        transport.get_pipe_transport(0).write(b"to and fro")
        transport.get_pipe_transport(0).write_eof()
        await ended(transport, protocol)
        assert protocol.data[1] == b"to and fro"
        assert {("lost", 0), ("lost", 1), ("lost", 2)} <= set(protocol.calls)

    async def test_without_pipes(self, execute):
        transport, protocol = await execute("true", stdin=None, stdout=None, stderr=None)
        await ended(transport, protocol)
        assert protocol.calls == ["connection_made", "exited", "connection_lost"]

    async def test_pause_and_resume_writing(self, execute):
        paused, resumed = asyncio.Event(), asyncio.Event()
        transport, protocol = await execute("sh", "-c", "read go; cat >/dev/null", stdout=None)
        protocol.pause_writing, protocol.resume_writing = paused.set, resumed.set
        stdin = transport.get_pipe_transport(0)
        stdin.write(b"\0" * 1_000_000)
        assert paused.is_set() and not resumed.is_set()
        stdin.write(b"\n")
        await asyncio.wait_for(resumed.wait(), 10)
        stdin.close()
        await ended(transport, protocol)

    @pytest.mark.asyncio_since(3, 12)
    async def test_in_the_context_of_who_started_it(self):
        variable = contextvars.ContextVar("variable", default="unset")
        seen = {}

        class Protocol(Recorder):
            def pipe_data_received(self, fd, data):
                seen["data"] = variable.get()

            def process_exited(self):
                seen["exited"] = variable.get()

        variable.set("set")
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            Protocol, "echo", "x"
        )
        variable.set("set later")
        await ended(transport, protocol)
        assert seen == {"data": "set", "exited": "set"}

    async def test_another_protocol(self, execute):
        transport, protocol = await execute("cat", stdout=None, stderr=None)
        other = Recorder()
        other.transport = transport
        assert transport.get_protocol() is protocol
        transport.set_protocol(other)
        transport.get_pipe_transport(0).close()
        await ended(transport, other)
        assert protocol.calls == ["connection_made"]
        assert sorted(map(str, other.calls)) == ["('lost', 0)", "connection_lost", "exited"]


@pytest.mark.usefixtures("way")
class TestTransport:
    async def test_what_it_tells(self, execute):
        transport, protocol = await execute("cat", stderr=None)
        process = transport.get_extra_info("subprocess")
        assert type(process) is subprocess.Popen
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert transport.get_pid() == process.pid
        assert transport.get_returncode() is None and process.returncode is None
        assert transport.get_pipe_transport(1) is not None
        assert transport.get_pipe_transport(2) is None
        assert transport.get_pipe_transport(3) is None
        assert not transport.is_closing()
        transport.get_pipe_transport(0).close()
        await ended(transport, protocol)
        assert transport.get_returncode() == 0 and process.returncode == 0
        assert transport.is_closing()

    async def test_repr(self, execute):
        transport, protocol = await execute("cat", stderr=None)
        pid = transport.get_pid()
        assert re.fullmatch(rf"<\w+ pid={pid} running stdin=<.*> stdout=<.*>>", repr(transport))
        transport.get_pipe_transport(0).close()
        await asyncio.wait_for(protocol.lost, 10)
        assert f"pid={pid} returncode=0" in repr(transport)
        transport.close()
        assert f" closed pid={pid}" in repr(transport)

    async def test_signals(self, execute):
        transport, protocol = await execute("cat")
        transport.send_signal(signal.SIGSTOP)
        transport.send_signal(signal.SIGCONT)
        assert transport.get_returncode() is None
        transport.terminate()
        assert await asyncio.wait_for(protocol.exited, 10) == -signal.SIGTERM
        await ended(transport, protocol)
        for method in (transport.terminate, transport.kill, lambda: transport.send_signal(0)):
            with pytest.raises(ProcessLookupError):
                method()

    async def test_a_signal_between_the_exit_and_the_last_pipe(self, execute):
        # The sleep holds stdout.
        transport, protocol = await execute("sh", "-c", "sleep 100 & echo $!", stderr=None)
        assert await asyncio.wait_for(protocol.exited, 10) == 0
        async with asyncio.timeout(10):
            while not protocol.data[1].endswith(b"\n"):
                await asyncio.sleep(0)
        transport.kill()
        assert "connection_lost" not in protocol.calls
        os.kill(int(protocol.data[1]), signal.SIGKILL)
        await ended(transport, protocol)


@pytest.mark.usefixtures("way")
class TestClosing:
    async def test_kills(self, execute):
        transport, protocol = await execute("sleep", "100")
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert await asyncio.wait_for(protocol.exited, 10) == -signal.SIGKILL
        await protocol.lost

    async def test_in_connection_made(self):
        class Protocol(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.close()

        _, protocol = await asyncio.get_running_loop().subprocess_exec(Protocol, "sleep", "100")
        assert await asyncio.wait_for(protocol.exited, 10) == -signal.SIGKILL
        await protocol.lost

    @pytest.mark.penstock_only("asyncio's close() reaps it, and its status is lost")
    async def test_who_has_ended_keeps_its_status(self, execute):
        transport, protocol = await execute("sleep", "100")
        os.kill(transport.get_pid(), signal.SIGTERM)
        ends(transport.get_pid())
        transport.close()
        assert await asyncio.wait_for(protocol.exited, 10) == -signal.SIGTERM
        await protocol.lost

    @pytest.mark.asyncio_since(3, 12)  # before, its thread may be first
    async def test_who_was_reaped_by_somebody_else(self, execute, caplog):
        transport, protocol = await execute("sleep", "100")
        os.kill(transport.get_pid(), signal.SIGKILL)
        os.waitpid(transport.get_pid(), 0)
        assert await asyncio.wait_for(protocol.exited, 10) == 255
        await ended(transport, protocol)
        messages = [record.getMessage() for record in caplog.records]
        assert any("will report returncode 255" in message for message in messages)

    @pytest.mark.penstock_only("asyncio waits for the pipes too, up to 3.14")
    async def test_wait_ends_with_the_process(self):
        sh = await asyncio.create_subprocess_shell(
            "sleep 100 & echo $!", stdout=asyncio.subprocess.PIPE
        )
        sleep = int(await sh.stdout.readline())
        assert await asyncio.wait_for(sh.wait(), 10) == 0
        os.kill(sleep, signal.SIGKILL)
        assert await sh.stdout.read() == b""


@pytest.mark.penstock_only("asyncio's thread holds the transport, later its pidfd stays open")
def test_dropped_it_warns_and_kills(new_loop):
    loop = new_loop()
    transport, _ = loop.run_until_complete(
        loop.subprocess_exec(
            asyncio.SubprocessProtocol, "sleep", "100", stdin=None, stdout=None, stderr=None
        )
    )
    process = transport.get_extra_info("subprocess")
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport
        gc.collect()
    assert any("unclosed transport <" in str(warning.message) for warning in caught)
    assert process.wait(10) == -signal.SIGKILL


@pytest.mark.penstock_only("asyncio leaves its pidfd open")
def test_a_transport_outlives_its_loop(new_loop):
    loop = new_loop()
    transport, _ = loop.run_until_complete(loop.subprocess_exec(asyncio.SubprocessProtocol, "cat"))
    process = transport.get_extra_info("subprocess")
    loop.close()
    transport.close()
    assert process.wait(10) == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del transport
        gc.collect()


@pytest.mark.penstock_only("asyncio leaves its pidfd open")
def test_a_child_outlives_its_loop(new_loop):
    loop = new_loop()
    reading, writing = os.pipe()
    transport, _ = loop.run_until_complete(
        loop.subprocess_exec(
            asyncio.SubprocessProtocol, "cat", stdin=reading, stdout=None, stderr=None
        )
    )
    os.close(reading)
    loop.close()
    process = transport.get_extra_info("subprocess")
    assert process.poll() is None
    os.close(writing)
    assert process.wait(10) == 0
    transport.close()


def test_keyboard_interrupt(run):
    async def main():
        cat = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        try:
            await cat.wait()
        finally:
            cat.kill()
            assert await cat.wait() == -signal.SIGKILL

    with pytest.raises(KeyboardInterrupt):
        run(main())


async def test_debug_log(execute, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")
    asyncio.get_running_loop().set_debug(True)
    transport, protocol = await execute("cat", stderr=subprocess.STDOUT)
    pid = transport.get_pid()
    transport.close()
    await asyncio.wait_for(protocol.lost, 10)
    messages = [re.sub(r"<\w+Transport .*>", "<T>", r.getMessage()) for r in caplog.records]
    for expected in (
        "execute program 'cat' stdin=<pipe> stdout=stderr=<pipe>",
        f"process 'cat' created: pid {pid}",
        "Close running child process: kill <T>",
        "<T> exited with return code -9",
    ):
        assert expected in messages
    assert any(
        message.startswith("execute program 'cat'") and "<T>" in message for message in messages
    )
