"""loop.sock_sendfile(): a file over a socket of the caller's."""

import asyncio
import io
import socket

import pytest


@pytest.fixture
def send(pair):
    def send(*args, **options):
        return asyncio.get_running_loop().sock_sendfile(pair[0], *args, **options)

    return send


@pytest.mark.asyncio_since(3, 14, 6)
@pytest.mark.parametrize("offset", [0, 5, 9])
async def test_where_the_file_stood_does_not_matter(pair, send, receive, offset):
    file = io.BytesIO(b"some data")
    file.seek(3)
    assert await send(file, offset) == 9 - offset
    assert file.tell() == 9
    pair[0].close()
    assert await receive(pair[1]) == b"some data"[offset:]


@pytest.mark.parametrize(
    ("offset", "count", "start", "end"),
    [
        (0, None, 0, None),
        (1000, None, 1000, None),
        (5000, 1_000_000, 5000, 1_005_000),
        (3_000_000, 10_000_000, 3_000_000, None),
    ],
)
async def test_all_or_the_part_asked_for(
    source, content, pair, send, receive, offset, count, start, end
):
    receiving = asyncio.ensure_future(receive(pair[1]))
    expected = content[start:end]
    assert await send(source, offset, count) == len(expected)
    pair[0].close()
    assert await receiving == expected
    assert source.tell() == offset + len(expected)


async def test_between_other_bytes(source, content, pair, send, receive):
    loop = asyncio.get_running_loop()
    receiving = asyncio.ensure_future(receive(pair[1]))
    await loop.sock_sendall(pair[0], b"before")
    await send(source)
    await loop.sock_sendall(pair[0], b"after")
    pair[0].close()
    assert await receiving == b"before" + content + b"after"


async def test_a_peer_that_resets(source, content, pair, send, receive):
    sending = asyncio.ensure_future(send(source))
    await receive(pair[1], 100_000)
    pair[1].close()  # unread bytes make it a reset
    with pytest.raises(ConnectionError):
        await sending
    assert 100_000 <= source.tell() < len(content)


async def test_cancelled_the_socket_is_free(source, pair, send, receive):
    loop = asyncio.get_running_loop()
    sending = asyncio.ensure_future(send(source))
    await receive(pair[1], 10_000)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not loop.remove_writer(pair[0])
    receiving = asyncio.ensure_future(receive(pair[1]))
    await loop.sock_sendall(pair[0], b"and on")
    pair[0].close()
    assert (await receiving).endswith(b"and on")


async def test_without_fallback(send):
    with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
        await send(io.BytesIO(b"x"), fallback=False)


async def test_a_kernel_that_refuses(pair, send, receive, tmp_path):
    # A file that can't be read from: sendfile(2) says EBADF, and so does the fallback.
    with (tmp_path / "new").open("wb") as file:
        file.write(b"x")
        file.flush()
        with pytest.raises(asyncio.SendfileNotAvailableError, match="os.sendfile call failed"):
            await send(file, fallback=False)
        with pytest.raises(io.UnsupportedOperation):
            await send(file)


async def test_only_streams(file, new_loop):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with pytest.raises(ValueError, match="only SOCK_STREAM type sockets are supported"):
            await loop.sock_sendfile(sock, file)


async def test_a_socket_that_blocks_in_debug_mode(file, pair, send):
    asyncio.get_running_loop().set_debug(True)
    pair[0].setblocking(True)
    with pytest.raises(ValueError, match="the socket must be non-blocking"):
        await send(file)
