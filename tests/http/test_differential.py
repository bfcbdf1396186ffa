"""The parser of HTTP/1.1 against h11 and llhttp (by httptools), on requests that are nearly right.

Two parsers that differ in where a message ends let one smuggle a request past the other. So
whatever penstock accepts the others must have accepted too, and understood the same, unless they
refuse it for one of the causes below, each with a reason why penstock does not; the same of what
becomes of the connection. What penstock refuses they may accept: it is meant to be stricter.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.foreign import Ending, Message, by_h11, by_llhttp, by_penstock

# CI asks the same questions each time; PENSTOCK_WANDER=1 asks others.
WANDERS = bool(os.environ.get("PENSTOCK_WANDER"))
SEEDS = sorted((Path(__file__).parents[2] / "fuzz/seeds/request").iterdir())

# What the others say, an input of which they say it, and why penstock accepts that.
H11_REFUSES = {
    "no request line received": (
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "RFC 9112, 2.2: a server should ignore an empty line before a request",
    ),
}
OWN_METHODS = "RFC 9110, 9.1: methods are the application's to know; each is a token"
LLHTTP_REFUSES = {
    "HttpParserInvalidMethodError: Invalid method encountered": (
        b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
        OWN_METHODS,
    ),
    "HttpParserInvalidMethodError: Expected space after method": (
        b"GETS / HTTP/1.1\r\nHost: a\r\n\r\n",
        OWN_METHODS,
    ),
}


class Cause(NamedTuple):
    applies: Callable[[Message], bool]  # to what both have accepted
    example: bytes
    why: str


def options(message: Message) -> set[bytes]:
    """What stands in its Connection."""
    values = [value for name, value in message.fields if name == b"connection"]
    return {option.strip().lower() for value in values for option in value.split(b",")}


def is_1_0(message: Message) -> bool:
    return message.version == b"1.0"


IN_1_0 = "RFC 9110, 7.8: of 1.0 an Upgrade is to be ignored"
# Whether the connection is kept for another request, or upgraded, where others read that otherwise.
DIFFERS = {
    ("h11", "keeps_alive"): Cause(
        lambda message: is_1_0(message) and b"keep-alive" in options(message),
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "RFC 9112, 9.3: 1.0 has it too, where it is asked for",
    ),
    ("h11", "upgrades"): Cause(
        lambda message: is_1_0(message) or b"upgrade" not in options(message),
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: b\r\n\r\n",
        f"RFC 9110, 7.8: it holds where Connection names it, too. {IN_1_0}",
    ),
    ("llhttp", "keeps_alive"): Cause(
        lambda message: is_1_0(message) and options(message) >= {b"keep-alive", b"close"},
        b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
        "RFC 9112, 9.3: close comes first",
    ),
    ("llhttp", "upgrades"): Cause(
        is_1_0,
        b"GET / HTTP/1.0\r\nConnection: upgrade, keep-alive\r\nUpgrade: b\r\n\r\n",
        IN_1_0,
    ),
}
FOREIGN = {"h11": (by_h11, H11_REFUSES), "llhttp": (by_llhttp, LLHTTP_REFUSES)}
REFUSED = [(name, why) for name, (_, refuses) in FOREIGN.items() for why in refuses]


def compare(data: bytes, name: str) -> None:
    read, refuses = FOREIGN[name]
    ours, theirs = by_penstock(data), read(data)
    for i, message in enumerate(ours.messages):
        if i == len(theirs.messages):
            assert theirs.ending is Ending.REFUSED, (data, message, theirs)
            assert theirs.why in refuses, (data, message, theirs)
            return  # where it would go on from nobody can say
        other = theirs.messages[i]
        assert agree(message, other), (data, message, other)
        differences = differing(message, other)
        assert differences <= allowed(message, name), (data, message, other)
        if differences:
            return  # for one of them the connection ends here
    if ours.ending is Ending.WAITING:
        # Neither may take for a message what the other takes for a part of one.
        assert len(theirs.messages) == len(ours.messages), (data, ours, theirs)


def agree(ours: Message, theirs: Message) -> bool:
    return (ours.method, ours.target, ours.version, ours.fields, ours.body, ours.trailers) == (
        theirs.method,
        theirs.target,
        theirs.version,
        theirs.fields,
        theirs.body,
        theirs.trailers,
    )


def differing(ours: Message, theirs: Message) -> set[str]:
    """What is another in what becomes of the connection."""
    return {
        what for what in ("keeps_alive", "upgrades") if getattr(ours, what) != getattr(theirs, what)
    }


def allowed(message: Message, name: str) -> set[str]:
    return {what for (by, what), cause in DIFFERS.items() if by == name and cause.applies(message)}


# ---- requests -----------------------------------------------------------------------------------


def mostly(usual: list[bytes], seldom: list[bytes]) -> st.SearchStrategy[bytes]:
    """One of `usual`, nine times out of ten."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(seldom if n == 0 else usual))


EOL = mostly([b"\r\n"], [b"\n", b"\r", b"\r\r\n", b"\n\r\n", b" \r\n", b"\r\n ", b"\0\r\n"])
SPACE = mostly([b" "], [b"  ", b"\t", b"", b"\x0b", b" \t"])
METHOD = mostly(
    [b"GET", b"POST", b"OPTIONS", b"PUT"], [b"get", b"CONNECT", b"X-Y", b"PRI", b"", b"G(T"]
)
TARGET = mostly(
    [b"/", b"/a?b=c", b"/%20", b"http://a/"],
    [b"*", b"a:80", b"/\xe9", b"/#a", b"/a b", b"http://b/", b'/"<>|', b"", b"//", b"http://a"],
)
VERSION = mostly(
    [b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"],
    [b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.10", b"HTTP/01.1", b""],
)
NAME = mostly(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X"],
    [
        b"Upgrade",
        b"Expect",
        b"Content-Length ",
        b" X",
        b"X\0",
        b"",
        b"Content_Length",
        b"X(",
        b"Trailer",
    ],
)
COLON = mostly([b": ", b":"], [b" :", b"", b":\t", b": \t ", b":\r\n "])
VALUE = mostly(
    [b"a", b"0", b"5", b"chunked", b"close", b"keep-alive", b"a, b"],
    [
        b"+5", b"-1", b"5,5", b"5 5", b"0x5", b"1_0", b"\xb2", b"5;", b"chunked, chunked",
        b"gzip, chunked", b"chunked, gzip", b"xchunked", b"CHUNKED", b"\x0bchunked",
        b"chunked\x0b", b"identity", b"", b"99999999999999999999", b"a\x01", b"a\x7f", b"\xe9",
        b"a\0", b"upgrade", b"100-continue", b"a b",
    ],
)  # fmt: skip
FIELD = st.builds(lambda *parts: b"".join(parts), NAME, COLON, VALUE, EOL)
LINE = st.builds(lambda *parts: b"".join(parts), METHOD, SPACE, TARGET, SPACE, VERSION, EOL)
FRAME = st.sampled_from(
    [
        b"",
        b"",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Connection: keep-alive, close\r\n",
        b"Connection: upgrade, keep-alive\r\nUpgrade: b\r\n",
        b"Upgrade: b\r\n",
    ]
)
CHUNK = mostly(
    [b"5\r\nhello\r\n", b"1\r\na\r\n", b"0\r\n\r\n"],
    [
        b"5;a=b\r\nhello\r\n", b"5 \r\nhello\r\n", b"5\nhello\r\n", b"5\r\nhello\n",
        b"5\r\nhello!\r\n", b"0x5\r\nhello\r\n", b"00005\r\nhello\r\n", b"5;\r\nhello\r\n",
        b'5;a="\r\n"\r\nhello\r\n', b"0\r\nX: y\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n",
        b"0\r\n X: y\r\n\r\n", b"0\n\n", b"0;a\nb\r\n\r\n", b"FFFFFFFFFFFFFFFF0\r\n",
        b"-5\r\nhello\r\n", b"5\r\r\nhello\r\n", b"\r\n",
    ],
)  # fmt: skip
BODY = st.one_of(st.just(b""), st.just(b"hello"), st.lists(CHUNK, max_size=3).map(b"".join))
REQUEST = st.builds(
    lambda line, host, fields, frame, eol, body: b"".join([line, host, *fields, frame, eol, body]),
    LINE,
    mostly([b"Host: a\r\n"], [b"", b"Host: a\r\nHost: b\r\n", b"Host:\r\n"]),
    st.lists(FIELD, max_size=2),
    FRAME,
    EOL,
    BODY,
)
CONNECTION = st.lists(REQUEST, min_size=1, max_size=3).map(b"".join)

PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"5", b"\xff", b"\r\n\r\n",
    b'"', b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n",
    b"GET / HTTP/1.1\r\n",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A seed of the fuzzer, in which some bytes are gone, and others have come."""
    data = draw(st.sampled_from(SEEDS)).read_bytes()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 2))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=2)))
        data = data[:at] + piece + data[at + gone :]
    return data


@pytest.mark.parametrize("name", FOREIGN)
@settings(max_examples=300, deadline=None, derandomize=not WANDERS)
@given(data=CONNECTION)
def test_composed(name: str, data: bytes) -> None:
    compare(data, name)


@pytest.mark.parametrize("name", FOREIGN)
@settings(max_examples=300, deadline=None, derandomize=not WANDERS)
@given(data=mutated())
def test_mutated(name: str, data: bytes) -> None:
    compare(data, name)


@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_each_cause_is_still_one(name: str, why: str) -> None:
    read, refuses = FOREIGN[name]
    data, _ = refuses[why]
    assert len(by_penstock(data).messages) == 1
    assert read(data).why == why


@pytest.mark.parametrize(("name", "what"), DIFFERS)
def test_each_difference_is_still_one(name: str, what: str) -> None:
    data = DIFFERS[name, what].example
    [ours], [theirs] = by_penstock(data).messages, FOREIGN[name][0](data).messages
    assert differing(ours, theirs) == {what}
    assert what in allowed(ours, name)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda path: path.name)
@pytest.mark.parametrize("name", FOREIGN)
def test_seeds(name: str, seed: Path) -> None:
    compare(seed.read_bytes(), name)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"target_bytes": 3}, 414),
        ({"head_bytes": 20}, 431),
        ({"fields": 1}, 431),
        ({"body_bytes": 4}, 413),
        (None, None),
    ],
)
def test_limits_reach_the_parser(limits: dict[str, int] | None, status: int | None) -> None:
    data = b"POST /abc HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    reading = by_penstock(data, limits)
    assert reading.why.startswith(f"{status} ") if status else len(reading.messages) == 1


def test_a_limit_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        by_penstock(b"", {"no_such_limit": 1})
    with pytest.raises(OverflowError):
        by_penstock(b"", {"fields": -1})
