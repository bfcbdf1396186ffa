"""add_reader, add_writer and their removal."""

import asyncio
import gc
import os
import socket
import time
import weakref

import pytest


def test_readers_and_writers_are_called_with_their_arguments(loop, pair):
    ours, theirs = pair
    calls = []

    def readable(*args):
        calls.append((args, ours.recv(10)))
        loop.stop()

    assert loop.add_reader(ours, readable, 1, "two") is None
    theirs.send(b"x")
    loop.run_forever()
    assert calls == [((1, "two"), b"x")]
    assert loop.remove_reader(ours) is True
    assert loop.remove_reader(ours) is False

    loop.add_writer(ours.fileno(), loop.stop)
    loop.run_forever()
    assert loop.remove_writer(ours.fileno()) is True
    assert loop.remove_writer(ours.fileno()) is False


def test_a_later_reader_replaces_an_earlier_one(loop, pair):
    ours, theirs = pair
    calls = []
    loop.add_reader(ours, calls.append, "first")
    loop.add_reader(ours, lambda: (calls.append("second"), loop.stop()))
    theirs.send(b"x")
    loop.run_forever()
    loop.remove_reader(ours)
    assert calls == ["second"]


def test_reading_and_writing_are_apart(loop, pair):
    ours, theirs = pair
    calls = []
    loop.add_reader(ours, lambda: calls.append("read"))
    loop.add_writer(ours, lambda: (calls.append("write"), loop.stop()))
    loop.run_forever()
    assert calls == ["write"]
    loop.remove_writer(ours)
    theirs.send(b"x")
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert "read" in calls
    loop.remove_reader(ours)


def test_it_is_level_triggered(loop, pair):
    ours, theirs = pair
    received = []

    def read_one():
        received.append(ours.recv(1))
        if len(received) == 3:
            loop.stop()

    loop.add_reader(ours, read_one)
    theirs.send(b"abc")
    loop.run_forever()
    loop.remove_reader(ours)
    assert received == [b"a", b"b", b"c"]


def test_pipes(loop):
    reader, writer = os.pipe()
    received = []
    loop.add_reader(reader, lambda: (received.append(os.read(reader, 10)), loop.stop()))
    loop.add_writer(writer, lambda: (os.write(writer, b"x"), loop.remove_writer(writer)))
    loop.run_forever()
    loop.remove_reader(reader)
    os.close(reader)
    os.close(writer)
    assert received == [b"x"]


def test_regular_files_cannot_be_watched(loop, tmp_path):
    with open(tmp_path / "file", "w+b") as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)


def test_what_is_no_descriptor_is_refused(loop):
    with pytest.raises(ValueError, match="^Invalid file object: <object object"):
        loop.add_reader(object(), print)
    with pytest.raises(ValueError, match="^Invalid file descriptor: -1$"):
        loop.add_reader(-1, print)


class Numbered:
    """A file that says it has that number."""

    def __init__(self, number):
        self.number = number

    def fileno(self):
        return self.number


@pytest.mark.parametrize("as_file", [int, Numbered])
@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_numbers_that_no_descriptor_has(loop, kind, as_file):
    add, remove = getattr(loop, f"add_{kind}"), getattr(loop, f"remove_{kind}")
    for number in (2**31, 2**40, 2**70):
        with pytest.raises(OverflowError, match="^Python int too large to convert to C int$"):
            add(as_file(number), print)
        assert remove(as_file(number)) is False
    for number in (-1, -(2**31) - 1, -(2**70)):
        with pytest.raises(ValueError, match=f"^Invalid file descriptor: {number}$"):
            add(as_file(number), print)
        with pytest.raises(ValueError, match=f"^Invalid file descriptor: {number}$"):
            remove(as_file(number))
    for file in (None, "0", b"0", 1.5, object(), Numbered("x"), Numbered(None)):
        with pytest.raises(ValueError, match=r"^Invalid file object: "):
            add(file, print)
        with pytest.raises(ValueError, match=r"^Invalid file object: "):
            remove(file)


def test_a_transports_descriptor_is_refused(run, listening):
    async def main():
        loop = asyncio.get_running_loop()
        sock = socket.create_connection(listening.getsockname())
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
        fd = sock.fileno()
        message = rf"^File descriptor {fd} is used by transport <"
        for call in (
            lambda: loop.add_reader(fd, print),
            lambda: loop.add_writer(fd, print),
            lambda: loop.remove_reader(fd),
            lambda: loop.remove_writer(fd),
        ):
            with pytest.raises(RuntimeError, match=message):
                call()
        transport.close()
        await asyncio.sleep(0)

    run(main())


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_a_socket_that_was_closed_can_still_be_removed(loop, pair, kind):
    ours, _ = pair
    add, remove = getattr(loop, f"add_{kind}"), getattr(loop, f"remove_{kind}")
    other = loop.remove_writer if kind == "reader" else loop.remove_reader
    add(ours, print)
    ours.close()
    assert other(ours) is False
    assert remove(ours) is True
    for removed in (remove, other):
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            removed(ours)
    loop.close()
    assert remove(ours) is False


def test_what_was_added_as_a_number_is_not_known_as_a_closed_socket(loop, pair):
    ours, _ = pair
    fd = ours.fileno()
    loop.add_reader(fd, pytest.fail)
    ours.close()
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        loop.remove_reader(ours)
    assert loop.remove_reader(fd) is True


def test_what_is_watched_stays_alive(loop):
    ours, theirs = socket.socketpair()
    alive = weakref.ref(ours)
    loop.add_reader(ours, loop.stop)
    del ours
    gc.collect()
    theirs.send(b"x")
    loop.run_forever()
    assert alive().recv(10) == b"x"
    alive().close()
    theirs.close()
    assert loop.remove_reader(alive()) is True
    gc.collect()
    assert alive() is None


def test_closed_loops(loop, pair):
    loop.close()
    for add in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            add(pair[0], print)
    assert loop.remove_reader(pair[0]) is False
    assert loop.remove_writer(pair[0]) is False


def test_a_callback_that_fails_is_reported(loop, pair):
    ours, theirs = pair
    reports = []
    loop.set_exception_handler(lambda loop, report: (reports.append(report), loop.stop()))
    loop.add_reader(ours, lambda: 1 / 0)
    theirs.send(b"x")
    loop.run_forever()
    loop.remove_reader(ours)
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


def test_a_callback_is_not_called_again_before_what_it_has_caused(loop, pair):
    """A future that it completes has callbacks that remove it, however busy the loop is."""
    ours, _ = pair
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    async def main():
        writable = loop.create_future()
        loop.add_writer(ours, writable.set_result, None)
        writable.add_done_callback(lambda _: loop.remove_writer(ours))
        for _ in range(10):
            loop.call_soon(time.sleep, 0.01)
        await writable
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert reports == []
    assert loop.remove_writer(ours) is False
