"""The cases of the Autobahn test suite, class by class, driven by a client of our own.

https://github.com/crossbario/autobahn-testsuite lists them: 1 framing, 2 pings, 3 reserved bits, 4
opcodes, 5 fragmentation, 6 UTF-8, 7 closing, 9 limits and performance, 10 miscellaneous, 12 and 13
permessage-deflate. The server echoes. Each case is sent whole, and in pieces.
"""

import asyncio
import random
import struct

import pytest

from tests.http.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close,
    deflated,
    echo,
    frame,
    inflated,
    serving,
)

KOSME = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"  # its accent is a tonos: U+1F79
HELLO = "Hello-µ@ßöäüàá-UTF-8!!".encode()


def part(opcode, payload=b"", **more):
    return frame(opcode, payload, final=False, **more)


# id: (what is sent, what comes back, the close frame's code: 1000 where the client closes)
CASES = {}


def case(name, sent, answers=(), code=None):
    CASES[name] = (sent if isinstance(sent, list) else [sent], list(answers), code)


# ---- 1: framing ----------------------------------------------------------------------------------

for kind, (opcode, letter) in enumerate([(TEXT, b"*"), (BINARY, b"\xfe")], 1):
    for number, size in enumerate([0, 125, 126, 127, 128, 65535, 65536], 1):
        case(f"1.{kind}.{number}", frame(opcode, letter * size), [(opcode, letter * size)])
    long = frame(opcode, letter * 65536)
    case(
        f"1.{kind}.8",
        [long[at : at + 997] for at in range(0, len(long), 997)],
        [(opcode, letter * 65536)],
    )

# ---- 2: pings and pongs --------------------------------------------------------------------------

case("2.1", frame(PING), [(PONG, b"")])
case("2.2", frame(PING, b"Hello, world!"), [(PONG, b"Hello, world!")])
case(
    "2.3",
    frame(PING, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"),
    [(PONG, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")],
)
case("2.4", frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)])
case("2.5", frame(PING, b"\xfe" * 126), code=1002)
case("2.6", [bytes([byte]) for byte in frame(PING, b"\xfe" * 125)], [(PONG, b"\xfe" * 125)])
case("2.7", frame(PONG))
case("2.8", frame(PONG, b"unsolicited"))
case("2.9", frame(PONG, b"unsolicited") + frame(PING, b"ping"), [(PONG, b"ping")])
TEN = [b"payload-%d" % number for number in range(10)]
case("2.10", b"".join(frame(PING, each) for each in TEN), [(PONG, each) for each in TEN])
case(
    "2.11",
    [bytes([byte]) for each in TEN for byte in frame(PING, each)],
    [(PONG, each) for each in TEN],
)

# ---- 3: reserved bits ----------------------------------------------------------------------------

case("3.1", frame(TEXT, b"Hello", reserved=1), code=1002)
case(
    "3.2",
    frame(TEXT, b"Hello") + frame(TEXT, b"Hello", reserved=2) + frame(PING),
    [(TEXT, b"Hello")],
    1002,
)
case(
    "3.3",
    [frame(TEXT, b"Hello"), frame(TEXT, b"Hello", reserved=3), frame(PING)],
    [(TEXT, b"Hello")],
    1002,
)
case(
    "3.4",
    frame(TEXT, b"Hello") + frame(TEXT, b"Hello", reserved=4) + frame(PING),
    [(TEXT, b"Hello")],
    1002,
)
case("3.5", frame(BINARY, b"\x00\xff\xfe", reserved=5), code=1002)
case("3.6", frame(PING, b"Hello", reserved=6), code=1002)
case("3.7", frame(CLOSE, reserved=7), code=1002)

# ---- 4: opcodes ----------------------------------------------------------------------------------

for kind, opcodes in enumerate([[3, 4, 5, 6, 7], [11, 12, 13, 14, 15]], 1):
    case(f"4.{kind}.1", frame(opcodes[0]), code=1002)
    case(f"4.{kind}.2", frame(opcodes[1], b"reserved opcode payload"), code=1002)
    for number, opcode in enumerate(opcodes[2:], 3):
        case(
            f"4.{kind}.{number}",
            frame(TEXT, b"Hello") + frame(opcode, b"payload" * (number > 3)) + frame(PING),
            [(TEXT, b"Hello")],
            1002,
        )

# ---- 5: fragmentation ----------------------------------------------------------------------------

case("5.1", part(PING, b"fragment1") + frame(CONTINUATION, b"fragment2"), code=1002)
case("5.2", part(PONG, b"fragment1") + frame(CONTINUATION, b"fragment2"), code=1002)
WHOLE = (TEXT, b"fragment1fragment2")
case("5.3", part(TEXT, b"fragment1") + frame(CONTINUATION, b"fragment2"), [WHOLE])
case("5.4", [part(TEXT, b"fragment1"), frame(CONTINUATION, b"fragment2")], [WHOLE])
case(
    "5.5",
    [bytes([b]) for b in part(TEXT, b"fragment1") + frame(CONTINUATION, b"fragment2")],
    [WHOLE],
)
WITH_PING = part(TEXT, b"fragment1") + frame(PING, b"ping") + frame(CONTINUATION, b"fragment2")
case("5.6", WITH_PING, [(PONG, b"ping"), WHOLE])
case(
    "5.7",
    [part(TEXT, b"fragment1"), frame(PING, b"ping"), frame(CONTINUATION, b"fragment2")],
    [(PONG, b"ping"), WHOLE],
)
case("5.8", [bytes([byte]) for byte in WITH_PING], [(PONG, b"ping"), WHOLE])
for number, final in enumerate([True, True, True, False, False, False], 9):
    stray = frame(CONTINUATION, b"non-continuation payload", final=final) + frame(TEXT, b"Hello")
    case(f"5.{number}", [stray] if number % 3 == 0 else [stray[:9], stray[9:]], code=1002)
case(
    "5.15",
    part(TEXT, b"fragment1")
    + frame(CONTINUATION, b"fragment2")
    + part(CONTINUATION, b"fragment3")
    + frame(TEXT, b"fragment4"),
    [WHOLE],
    1002,
)
for number, final in ((16, False), (17, True)):
    stray = frame(CONTINUATION, b"fragment1", final=final)
    case(
        f"5.{number}",
        (stray + part(TEXT, b"fragment2") + frame(CONTINUATION, b"fragment3")) * 2,
        code=1002,
    )
case("5.18", part(TEXT, b"fragment1") + frame(TEXT, b"fragment2"), code=1002)
for number, joins in ((19, False), (20, True)):
    pieces = [
        part(TEXT, b"fragment1"),
        part(CONTINUATION, b"fragment2"),
        frame(PING, b"ping 1"),
        part(CONTINUATION, b"fragment3"),
        part(CONTINUATION, b"fragment4"),
        frame(PING, b"ping 2"),
        frame(CONTINUATION, b"fragment5"),
    ]
    case(
        f"5.{number}",
        [b"".join(pieces)] if joins else pieces,
        [
            (PONG, b"ping 1"),
            (PONG, b"ping 2"),
            (TEXT, b"fragment1fragment2fragment3fragment4fragment5"),
        ],
    )

# ---- 6: UTF-8 ------------------------------------------------------------------------------------

case("6.1.1", frame(TEXT), [(TEXT, b"")])
case("6.1.2", part(TEXT) + part(CONTINUATION) + frame(CONTINUATION), [(TEXT, b"")])
case("6.1.3", part(TEXT) + part(CONTINUATION, b"middle") + frame(CONTINUATION), [(TEXT, b"middle")])
case("6.2.1", frame(TEXT, HELLO), [(TEXT, HELLO)])
case("6.2.2", part(TEXT, HELLO[:12]) + frame(CONTINUATION, HELLO[12:]), [(TEXT, HELLO)])
for number, text in ((3, HELLO), (4, KOSME)):
    each = [bytes([byte]) for byte in text]
    sent = (
        part(TEXT, each[0])
        + b"".join(part(CONTINUATION, byte) for byte in each[1:])
        + frame(CONTINUATION)
    )
    case(f"6.2.{number}", sent, [(TEXT, text)])
BROKEN = KOSME + b"\xed\xa0\x80" + b"edited"
case("6.3.1", frame(TEXT, BROKEN), code=1007)
case(
    "6.3.2",
    part(TEXT, BROKEN[:1])
    + b"".join(part(CONTINUATION, bytes([b])) for b in BROKEN[1:])
    + frame(CONTINUATION),
    code=1007,
)
# What is wrong is told before the message's end has come.
case("6.4.1", part(TEXT, KOSME) + part(CONTINUATION, b"\xf4\x90\x80\x80"), code=1007)
case("6.4.2", part(TEXT, KOSME + b"\xf4") + part(CONTINUATION, b"\x90"), code=1007)
case("6.4.3", frame(TEXT, KOSME + b"\xf4\x90\x80\x80", length=1000), code=1007)

VALID = {
    "6.5": [b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", b"$", "¢€𐍈".encode()],
    "6.6": ["κ", "κό", "κόσ", "κόσμ", "κόσμε"],
    "6.7": ["\x00", "\u0080", "\u0800", "\U00010000"],
    "6.9": ["\x7f", "\u07ff", "\uffff", "\U0010ffff"],
    "6.11": ["\ud7ff", "\ue000", "\ufffd", "\U0010ffff"],
    "6.22": [chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF)],
    "6.23": ["\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"],
}
INVALID = {
    "6.6": [KOSME[:1], KOSME[:3], KOSME[:4], KOSME[:6], KOSME[:8], KOSME[:10]],
    "6.8": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.10": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    "6.11": [b"\xf4\x90\x80\x80"],
    "6.12": [b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80", bytes(range(0x80, 0xC0))],
    "6.13": [bytes([lead, 32]) for lead in (0xC0, 0xDF, 0xE0, 0xEF, 0xF0, 0xF7, 0xF8, 0xFB, 0xFD)],
    "6.14": [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf"],
    "6.15": [b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80"],
    "6.16": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17": [b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf"],
    "6.18": [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf"],
    "6.19": [b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"],
    "6.20": [
        chr(point).encode("utf-8", "surrogatepass")
        for point in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)
    ],
    "6.21": [
        "\ud800\udc00".encode("utf-8", "surrogatepass"),
        "\udbff\udfff".encode("utf-8", "surrogatepass"),
    ],
}
for group, texts in VALID.items():
    for number, text in enumerate(texts, 1):
        data = text.encode("utf-8") if isinstance(text, str) else text
        case(f"{group}.{number} valid", frame(TEXT, data), [(TEXT, data)])
for group, texts in INVALID.items():
    for number, data in enumerate(texts, 1):
        case(f"{group}.{number} invalid", frame(TEXT, data), code=1007)

# ---- 7: closing ----------------------------------------------------------------------------------

case("7.1.1", frame(TEXT, b"Hello World!"), [(TEXT, b"Hello World!")])
case("7.1.2", close(1000) * 2, code=1000)
case("7.1.3", close(1000) + frame(PING), code=1000)
case("7.1.4", close(1000) + frame(TEXT, b"unread"), code=1000)
case("7.1.5", part(TEXT, b"fragment1") + close(1000) + frame(CONTINUATION, b"fragment2"), code=1000)
case(
    "7.1.6",
    frame(TEXT, b"x" * 262144) + frame(TEXT, b"Hello") + close(1000) + frame(PING),
    [(TEXT, b"x" * 262144), (TEXT, b"Hello")],
    1000,
)
case("7.3.1", frame(CLOSE), code=1005)
case("7.3.2", frame(CLOSE, b"a"), code=1002)
case("7.3.3", close(1000), code=1000)
case("7.3.4", close(1000, b"Hello World!"), code=1000)
case("7.3.5", close(1000, b"*" * 123), code=1000)
case("7.3.6", close(1000, b"*" * 124), code=1002)
case("7.5.1", close(1000, KOSME + b"\xed\xa0\x80"), code=1007)
for number, code in enumerate(
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999], 1
):
    case(f"7.7.{number}", close(code), code=code)
for number, code in enumerate([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999], 1):
    case(f"7.9.{number}", close(code), code=1002)
case("7.13.1", close(5000), code=1002)
case("7.13.2", close(65535), code=1002)

# ---- 9: limits and performance, 10: miscellaneous ------------------------------------------------

for kind, opcode in ((1, TEXT), (2, BINARY)):
    for number, size in enumerate([64 << 10, 256 << 10, 1 << 20, 4 << 20], 1):
        case(f"9.{kind}.{number}", frame(opcode, b"*" * size), [(opcode, b"*" * size)])
    for number, size in enumerate(
        [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20], 1
    ):
        message = b"*" * (1 << 20)  # 4 MiB there
        cut = [message[at : at + size] for at in range(0, len(message), size)]
        sent = part(opcode, cut[0]) + b"".join(part(CONTINUATION, each) for each in cut[1:])
        case(f"9.{kind + 2}.{number}", sent + frame(CONTINUATION), [(opcode, message)])
    for number, size in enumerate([64, 256, 1 << 10, 2 << 10, 4 << 10, 8 << 10], 1):
        message = frame(opcode, b"*" * (1 << 18))
        chops = [message[at : at + size] for at in range(0, len(message), size)]
        case(f"9.{kind + 4}.{number}", chops, [(opcode, b"*" * (1 << 18))])
    for number, size in enumerate([0, 16, 64, 256, 1 << 10, 4 << 10], 1):
        case(
            f"9.{kind + 6}.{number}",
            frame(opcode, b"*" * size) * 200,
            [(opcode, b"*" * size)] * 200,
        )
case(
    "10.1.1",
    part(TEXT, b"*" * 1300) + part(CONTINUATION, b"*" * 64000) + frame(CONTINUATION, b"*" * 236),
    [(TEXT, b"*" * 65536)],
)


# The client writes while it reads: an echo does not go on reading what nobody takes.
async def converse(client, sent, answers, code):
    async def write():
        for piece in sent:
            await client.send(piece)

    writing = asyncio.create_task(write())
    got = []
    while code is not None or len(got) < len(answers):
        each = await client.frame()
        if each.opcode == CLOSE:
            break
        assert (each.is_final, each.reserved) == (True, 0)
        got.append((each.opcode, each.payload))
    await writing
    if code is None:
        assert got == answers
        client.write(close(1000, b"done"))
        each = await client.frame()
    # What stands before the end may be answered, or not: the application may not have had its turn.
    assert got == answers[: len(got)]
    assert (each.opcode, each.code) == (CLOSE, code or 1000)
    client.writer.write_eof()
    assert await client.reader.read() == b""


@pytest.mark.parametrize("name", CASES)
async def test_case(name):
    async with serving(echo) as server:
        async with server.websocket() as client:
            await converse(client, *CASES[name])


@pytest.mark.parametrize(
    "name", [name for name, (sent, _, _) in CASES.items() if sum(map(len, sent)) < 3000]
)
async def test_case_byte_by_byte(name):
    sent, answers, code = CASES[name]
    async with serving(echo) as server:
        async with server.websocket() as client:
            await converse(client, [bytes([byte]) for byte in b"".join(sent)], answers, code)


async def test_several_cases_of_each_class_share_a_server():
    """What one client does wrong is no other one's affair."""
    names = random.Random(1).sample(list(CASES), 60)
    async with serving(echo) as server:

        async def one(name):
            async with server.websocket() as client:
                await converse(client, *CASES[name])

        await asyncio.gather(*map(one, names))


async def test_an_unfinished_character_waits():
    """6.4.4: what may yet become a text is not refused."""
    async with serving(echo) as server:
        async with server.websocket() as client:
            await client.send(part(TEXT, KOSME + b"\xf4"), frame(PING, b"still there?"))
            assert (await client.frame()).payload == b"still there?"
            await client.send(frame(CONTINUATION, b"\x8f\xbf\xbf"))
            assert await client.message() == (TEXT, KOSME + b"\xf4\x8f\xbf\xbf")


async def test_7_1_6_close_frames_echo_what_they_got():
    async with serving(echo) as server:
        async with server.websocket() as client:
            await client.send(close(4321, b"why"))
            got = await client.closing()
            assert got.payload == struct.pack(">H", 4321)


# ---- 12 and 13: permessage-deflate ---------------------------------------------------------------

JSON = (
    b'{"id": 123, "name": "Autobahn", "values": [1, 2, 3, 5, 8, 13], "text": "\xc3\xa4\xc3\xb6"} '
)
SIZES = [16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10]
OFFERS = {
    "13.1": "permessage-deflate",
    "13.2": "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "13.3": "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    "13.4": "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15",
    "13.5": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; "
    "client_max_window_bits=9",
    "13.6": "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
    "13.7": "permessage-deflate; server_no_context_takeover; server_max_window_bits=8, "
    "permessage-deflate; server_max_window_bits=10, permessage-deflate",
}
BITS = {"13.3": 9, "13.5": 9, "13.7": 10}


def sample(kind, size):
    noise = random.Random(size)
    if kind == "json":
        return (JSON * (size // len(JSON) + 1))[:size].decode("utf-8", "ignore").encode()
    if kind == "words":
        words = [bytes(noise.choices(b"abcdefgh", k=6)) for _ in range(100)]
        return b" ".join(noise.choices(words, k=size // 7 + 1))[:size]
    return noise.randbytes(size)


async def check_deflated(client, opcode, payload, bits, fragments):
    data = deflated(payload)
    step = max(1, len(data) // fragments)
    cut = [data[at : at + step] for at in range(0, len(data), step)]
    pieces = [part(opcode, cut[0], reserved=4), *(part(CONTINUATION, each) for each in cut[1:])]
    await client.send(*pieces, frame(CONTINUATION))
    got = await client.frame()
    assert (got.opcode, got.is_final) == (opcode, True) and got.reserved in (0, 4)
    assert (inflated(got.payload, bits) if got.reserved else got.payload) == payload
    return got


@pytest.mark.parametrize("kind", ["json", "words", "noise"])
@pytest.mark.parametrize("size", SIZES)
async def test_12_messages_of_a_kind_and_a_size(kind, size):
    payload = sample(kind, size)
    opcode = BINARY if kind == "noise" else TEXT
    async with serving(echo) as server:
        async with server.websocket(extensions=OFFERS["13.1"]) as client:
            for fragments in (1, 1, 2, 7):
                got = await check_deflated(client, opcode, payload, 15, fragments)
                # What would not get smaller is sent as it is.
                assert got.reserved == (0 if len(got.payload) == len(payload) else 4)
                if size >= 1024:
                    assert (got.reserved == 0) == (kind == "noise")
            await client.send(close(1000))
            assert (await client.closing()).code == 1000


@pytest.mark.parametrize("name", OFFERS)
async def test_13_parameters(name):
    bits = BITS.get(name, 15)
    async with serving(echo) as server:
        async with server.client() as client:
            fields = await client.upgrade(extensions=OFFERS[name])
            answer = fields["sec-websocket-extensions"].split("; ")
            assert answer[:3] == [
                "permessage-deflate",
                "server_no_context_takeover",
                "client_no_context_takeover",
            ]
            asked = "server_max_window_bits" in OFFERS[name]
            assert answer[3:] == ([f"server_max_window_bits={bits}"] if asked else [])
            for size in SIZES:
                for kind in ("json", "words"):
                    await check_deflated(client, TEXT, sample(kind, size), bits, 1)
            # A plain one in between is as good.
            await client.send(frame(TEXT, HELLO))
            assert await client.message() == (TEXT, HELLO)
