"""loop.sendfile(): a file over a transport, by the kernel and by reading and writing."""

import asyncio
import contextlib
import io
import os
import socket
import struct
import subprocess
import sys

import pytest


class Recorder(asyncio.Protocol):
    def __init__(self):
        self.calls = []
        self.data = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.data += data

    def pause_writing(self):
        self.calls.append("pause_writing")

    def resume_writing(self):
        self.calls.append("resume_writing")

    def connection_lost(self, exc):
        self.calls.append("connection_lost")
        self.lost.set_result(exc)


@pytest.fixture
def connect(pair):
    async def connect():
        return await asyncio.get_running_loop().create_connection(Recorder, sock=pair[0])

    return connect


async def close(transport, protocol):
    transport.close()
    await asyncio.wait_for(protocol.lost, 10)


@pytest.fixture
def sendfile():
    def sendfile(*args, **options):
        return asyncio.get_running_loop().sendfile(*args, **options)

    return sendfile


def reset(sock):
    """Close a socket so that its peer hears of an error."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class TestWhatArrives:
    @pytest.mark.parametrize(
        ("offset", "count", "start", "end"),
        [
            (0, None, 0, None),
            (1000, None, 1000, None),
            (0, 2000, 0, 2000),
            (5000, 1_000_000, 5000, 1_005_000),
            (3_000_000, 10_000_000, 3_000_000, None),
            pytest.param(
                3_000_000,
                1 << 70,
                3_000_000,
                None,
                marks=pytest.mark.penstock_only("asyncio's OverflowError on 3.11"),
            ),
        ],
    )
    async def test_all_or_the_part_asked_for(
        self, source, content, pair, connect, sendfile, receive, offset, count, start, end
    ):
        transport, protocol = await connect()
        receiving = asyncio.ensure_future(receive(pair[1]))
        expected = content[start:end]
        assert await sendfile(transport, source, offset, count) == len(expected)
        await close(transport, protocol)
        assert await receiving == expected
        assert source.tell() == offset + len(expected)

    async def test_nothing_of_an_empty_file(self, pair, connect, sendfile, receive, tmp_path):
        transport, protocol = await connect()
        (tmp_path / "empty").touch()
        with (tmp_path / "empty").open("rb") as empty:
            assert await sendfile(transport, empty) == 0
        assert await sendfile(transport, io.BytesIO()) == 0
        await close(transport, protocol)
        assert await receive(pair[1]) == b""

    async def test_behind_the_end_there_is_nothing(self, source, content, connect, sendfile):
        transport, protocol = await connect()
        assert await sendfile(transport, source, len(content) + 10) == 0
        await close(transport, protocol)

    async def test_between_what_is_written_before_and_after(
        self, source, content, pair, connect, sendfile, receive
    ):
        transport, protocol = await connect()
        before, after = b"before" * 100_000, b"after" * 100_000
        receiving = asyncio.ensure_future(receive(pair[1]))
        transport.write(before)
        await sendfile(transport, source)
        transport.write(after)
        await close(transport, protocol)
        assert await receiving == before + content + after

    async def test_one_file_after_the_other(
        self, source, content, pair, connect, sendfile, receive
    ):
        transport, protocol = await connect()
        receiving = asyncio.ensure_future(receive(pair[1]))
        for _ in range(3):
            source.seek(0)  # without an offset, a fallback reads from where the file stands
            await sendfile(transport, source)
        await close(transport, protocol)
        assert await receiving == content * 3


class TestMeanwhile:
    async def test_the_loop_runs_on(self, source, pair, connect, sendfile, receive):
        transport, protocol = await connect()
        sending = asyncio.ensure_future(sendfile(transport, source))
        for _ in range(10):
            assert await receive(pair[1], 1000)
        assert not sending.done()
        receiving = asyncio.ensure_future(receive(pair[1]))
        await sending
        await close(transport, protocol)
        await receiving

    async def test_nothing_else_can_be_written(
        self, file, content, pair, connect, sendfile, receive
    ):
        transport, protocol = await connect()
        sending = asyncio.ensure_future(sendfile(transport, file))
        await receive(pair[1], 1000)
        with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
            transport.write(b"x")
        receiving = asyncio.ensure_future(receive(pair[1]))
        await sending
        await close(transport, protocol)
        assert await receiving == content[1000:]

    @pytest.mark.penstock_only("asyncio raises the KeyError of a private dict")
    async def test_no_second_file_can_be_sent(self, file, pair, connect, sendfile, receive):
        transport, protocol = await connect()
        sending = asyncio.ensure_future(sendfile(transport, file))
        await receive(pair[1], 1000)
        with pytest.raises(RuntimeError, match="sendfile is in progress"):
            await sendfile(transport, file)
        receiving = asyncio.ensure_future(receive(pair[1]))
        await sending
        await close(transport, protocol)
        await receiving

    async def test_nothing_is_received_until_it_is_sent(
        self, source, pair, connect, sendfile, receive
    ):
        transport, protocol = await connect()
        sending = asyncio.ensure_future(sendfile(transport, source))
        await receive(pair[1], 1000)
        pair[1].sendall(b"meanwhile")
        for _ in range(20):
            await asyncio.sleep(0)
        assert protocol.data == b""
        receiving = asyncio.ensure_future(receive(pair[1]))
        await sending
        async with asyncio.timeout(10):
            while protocol.data != b"meanwhile":
                await asyncio.sleep(0)
        await close(transport, protocol)
        await receiving

    async def test_paused_reading_stays_paused(self, source, pair, connect, sendfile, receive):
        transport, protocol = await connect()
        transport.pause_reading()
        receiving = asyncio.ensure_future(receive(pair[1]))
        await sendfile(transport, source)
        assert not transport.is_reading()
        assert transport.get_protocol() is protocol
        await close(transport, protocol)
        await receiving

    @pytest.mark.penstock_only("asyncio swallows the pause, and reports the resume")
    async def test_pauses_and_resumes_pair_up(self, pair, connect, sendfile, content, receive):
        transport, protocol = await connect()
        transport.set_write_buffer_limits(high=1, low=0)
        receiving = asyncio.ensure_future(receive(pair[1]))
        await sendfile(transport, io.BytesIO(content))
        await close(transport, protocol)
        await receiving
        flow = [call for call in protocol.calls if call != "connection_lost"]
        assert flow == ["pause_writing", "resume_writing"] * (len(flow) // 2)


class TestAborted:
    async def test_a_reset_is_a_connection_error(
        self, source, content, pair, connect, sendfile, receive
    ):
        transport, protocol = await connect()
        sending = asyncio.ensure_future(sendfile(transport, source))
        await receive(pair[1], 100_000)
        reset(pair[1])
        with pytest.raises(ConnectionError):
            await sending
        assert 100_000 <= source.tell() < len(content)
        await asyncio.wait_for(protocol.lost, 10)
        assert transport.get_protocol() in (protocol, None)

    @pytest.mark.penstock_only("asyncio waits for ever where the kernel sends")
    @pytest.mark.parametrize("way", ["close", "abort"])
    async def test_a_transport_that_is_closed(self, source, pair, connect, sendfile, receive, way):
        transport, protocol = await connect()
        sending = asyncio.ensure_future(sendfile(transport, source))
        await receive(pair[1], 1000)
        getattr(transport, way)()
        # What a fallback has written before the close has to leave first.
        while not sending.done():
            with contextlib.suppress(BlockingIOError, ConnectionError):
                pair[1].recv(65536)
            await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await sending
        pair[1].close()
        await asyncio.wait_for(protocol.lost, 10)

    async def test_a_reset_while_the_queue_drains(self, file, pair, connect, sendfile):
        transport, protocol = await connect()
        transport.write(bytes(8_000_000))
        sending = asyncio.ensure_future(sendfile(transport, file))
        await asyncio.sleep(0)
        reset(pair[1])
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(sending, 10)
        await asyncio.wait_for(protocol.lost, 10)
        assert file.tell() == 0

    @pytest.mark.penstock_only("asyncio does not move the file where the kernel has sent")
    async def test_cancelled_the_file_stands_behind_what_was_sent(
        self, file, content, pair, connect, sendfile, receive
    ):
        transport, protocol = await connect()
        sending = asyncio.ensure_future(sendfile(transport, file))
        start = await receive(pair[1], 10_000)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        sent = file.tell()
        assert 10_000 <= sent < len(content)
        receiving = asyncio.ensure_future(receive(pair[1]))
        transport.write(b"!")
        await close(transport, protocol)
        assert start + await receiving == content[:sent] + b"!"

    @pytest.mark.penstock_only("asyncio forgets a transport cancelled before the kernel sends")
    async def test_cancelled_it_can_be_read_and_written_again(
        self, source, pair, connect, sendfile, receive
    ):
        transport, protocol = await connect()
        for _ in range(5):
            sending = asyncio.ensure_future(sendfile(transport, source))
            await receive(pair[1], 5000)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert transport.is_reading()
        receiving = asyncio.ensure_future(receive(pair[1]))
        transport.write(b"x")
        await close(transport, protocol)
        assert (await receiving)[-1:] == b"x"


class TestRefused:
    async def test_without_fallback_what_the_kernel_cannot_send(self, connect, sendfile):
        transport, protocol = await connect()
        with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
            await sendfile(transport, io.BytesIO(b"x"), fallback=False)
        assert transport.is_reading()
        await close(transport, protocol)

    async def test_a_transport_that_closes(self, file, connect, sendfile):
        transport, protocol = await connect()
        transport.close()
        with pytest.raises(RuntimeError, match="Transport is closing"):
            await sendfile(transport, file)
        await protocol.lost

    async def test_a_transport_that_sends_no_files(self, file, sendfile):
        class Foreign(asyncio.Transport):
            def is_closing(self):
                return False

        with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
            await sendfile(Foreign(), file)

    async def test_a_transport_that_only_falls_back(self, file, sendfile):
        class Foreign(asyncio.Transport):
            _sendfile_compatible = asyncio.constants._SendfileMode.FALLBACK

            def is_closing(self):
                return False

        with pytest.raises(RuntimeError, match="fallback is disabled"):
            await sendfile(Foreign(), file, fallback=False)

    @pytest.mark.parametrize(
        ("offset", "count", "error", "message"),
        [
            (0, 0, ValueError, r"count must be a positive integer \(got 0\)"),
            (0, -1, ValueError, r"count must be a positive integer \(got -1\)"),
            (0, 1.5, TypeError, r"count must be a positive integer \(got 1.5\)"),
            (-1, None, ValueError, r"offset must be a non-negative integer \(got -1\)"),
            ("0", None, TypeError, r"offset must be a non-negative integer \(got '0'\)"),
        ],
    )
    async def test_bad_arguments(self, file, connect, sendfile, offset, count, error, message):
        transport, protocol = await connect()
        with pytest.raises(error, match=message):
            await sendfile(transport, file, offset, count)
        assert transport.is_reading()
        await close(transport, protocol)

    async def test_text(self, file, connect, sendfile):
        transport, protocol = await connect()
        with open(file.name) as text:
            with pytest.raises(ValueError, match="file should be opened in binary mode"):
                await sendfile(transport, text)
        await close(transport, protocol)


EXIT = """
import asyncio, socket, tempfile, penstock

class Exits(asyncio.Protocol):
    def resume_writing(self):
        raise SystemExit(3)

async def main():
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    transport, _ = await loop.create_unix_connection(Exits, sock=near)
    transport.set_write_buffer_limits(high=10)
    transport.write(bytes(1_000_000))
    with tempfile.TemporaryFile() as file:
        file.write(b"content")
        file.flush()
        sending = loop.create_task(loop.sendfile(transport, file))
        await asyncio.sleep(0)
        far.setblocking(False)
        while not sending.done():
            try:
                far.recv(1 << 20)
            except BlockingIOError:
                pass
            await asyncio.sleep(0)

penstock.run(asyncio.wait_for(main(), 20))
"""


@pytest.mark.parametrize("stock", ["", "1"])
@pytest.mark.penstock_only("asyncio wakes no file's sender at once")
def test_a_protocol_that_exits_while_a_file_waits(stock):
    environment = {**os.environ, "PENSTOCK_STOCK_TASK": stock}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", EXIT], env=environment, timeout=60)
    assert done.returncode == 3
