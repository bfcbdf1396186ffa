import asyncio

import pytest


async def drain(sock, transport, until=0):
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    while transport.get_write_buffer_size() > until:
        await loop.sock_recv(sock, 1 << 16)


async def test_a_slow_reader_pauses_the_protocol_and_a_fast_one_resumes_it(connect, pair):
    transport, protocol = await connect()
    while "pause_writing" not in protocol.calls:
        transport.write(b"x" * 32768)
    assert transport.get_write_buffer_size() > 65536
    transport.write(b"x" * 32768)
    assert protocol.calls.count("pause_writing") == 1
    await drain(pair[1], transport, 16384 + 1)
    assert "resume_writing" not in protocol.calls or transport.get_write_buffer_size() <= 16384
    await drain(pair[1], transport)
    assert protocol.calls.count("resume_writing") == 1
    transport.close()
    await protocol.lost


async def test_lines_pause_the_protocol_too(connect):
    transport, protocol = await connect()
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
    protocol.calls.clear()
    transport.set_write_buffer_limits(high=1 << 20)
    transport.set_write_buffer_limits(high=transport.get_write_buffer_size() + 10)
    transport.write(b"x" * 100)
    assert protocol.calls == ["pause_writing"] or protocol.calls == []
    transport.abort()
    await protocol.lost


async def test_limits(connect):
    transport, protocol = await connect()
    assert transport.get_write_buffer_limits() == (16384, 65536)
    transport.set_write_buffer_limits(high=1000)
    assert transport.get_write_buffer_limits() == (250, 1000)
    transport.set_write_buffer_limits(low=1000)
    assert transport.get_write_buffer_limits() == (1000, 4000)
    transport.set_write_buffer_limits(2000, 1)
    assert transport.get_write_buffer_limits() == (1, 2000)
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    transport.set_write_buffer_limits()
    assert transport.get_write_buffer_limits() == (16384, 65536)
    for high, low in ((1, 2), (-1, -2), (5, -1), (10, 11)):
        with pytest.raises(ValueError) as caught:
            transport.set_write_buffer_limits(high=high, low=low)
        assert str(caught.value) == f"high ({high}) must be >= low ({low}) must be >= 0"
    assert transport.get_write_buffer_limits() == (16384, 65536)
    with pytest.raises(TypeError):
        transport.set_write_buffer_limits(wrong=1)
    transport.close()
    await protocol.lost


async def test_a_limit_of_zero_pauses_at_the_first_queued_byte(connect, pair):
    transport, protocol = await connect()
    transport.set_write_buffer_limits(high=0)
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
    assert protocol.calls[-1] == "pause_writing"
    await drain(pair[1], transport)
    assert protocol.calls[-1] == "resume_writing"
    transport.close()
    await protocol.lost


async def test_lowering_the_limit_pauses(connect):
    transport, protocol = await connect()
    transport.set_write_buffer_limits(high=1 << 30)
    while transport.get_write_buffer_size() < 1000:
        transport.write(b"x" * 65536)
    assert "pause_writing" not in protocol.calls
    transport.set_write_buffer_limits(high=10)
    assert protocol.calls[-1] == "pause_writing"
    transport.abort()
    await protocol.lost


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
async def test_a_failing_callback_is_reported_and_the_transport_goes_on(
    connect, pair, reports, name
):
    def fail(*_):
        raise ValueError(name)

    seen = reports()
    transport, protocol = await connect(**{name: fail})
    transport.set_write_buffer_limits(high=0)
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
    await drain(pair[1], transport)
    assert [context["message"] for context in seen] == [f"protocol.{name}() failed"]
    assert seen[0]["transport"] is transport and seen[0]["protocol"] is protocol
    transport.write(b"x")
    transport.close()
    assert await protocol.lost is None


async def test_resume_writing_may_write_and_close(connect, pair, recorder):
    def more(protocol):
        protocol.transport.write(b"tail")
        protocol.transport.close()

    transport, protocol = await connect(resume_writing=more)
    transport.set_write_buffer_limits(high=0)
    total = 0
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 65536)
        total += 65536
    loop = asyncio.get_running_loop()
    pair[1].setblocking(False)
    data = bytearray()
    while some := await loop.sock_recv(pair[1], 1 << 16):
        data += some
    assert len(data) == total + 4 and data.endswith(b"tail")
    assert await protocol.lost is None
    assert protocol.calls.count("connection_lost") == 1
