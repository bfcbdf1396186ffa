"""What can be set: one table, of which the command line, the environment, the TOML file and the
keyword arguments are made. docs/reference/serve.md is written from it.

Names are uvicorn's where it has the option.
"""

from __future__ import annotations

import re
import resource
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .access_log import format_of
from .proxies import Peers
from .static import Mount


def boolean(text: str) -> bool:
    """A flag as the environment has it."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("must be true or false")


def positive(text: str) -> int:
    """A whole number from 0 on."""
    number = int(text)
    if number < 0:
        raise ValueError("must not be negative")
    return number


def seconds(text: str) -> float:
    """A time; 0 stands for no bound."""
    number = float(text)
    if not 0 <= number < 1e9:
        raise ValueError("must be a number of seconds from 0 on")
    return number


def interval(text: str) -> float:
    """A time above 0."""
    number = float(text)
    if not 0 < number < 1e9:
        raise ValueError("must be a number of seconds above 0")
    return number


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size(text: str) -> int:
    """Bytes, with k, m or g for KiB, MiB and GiB."""
    digits = text.lower().removesuffix("b").removesuffix("i")
    unit = digits[-1:] if digits[-1:] in ("k", "m", "g") else ""
    return positive(digits.removesuffix(unit)) * _UNITS[unit]


def port(text: str) -> int:
    """0 stands for any that is free."""
    number = int(text)
    if not 0 <= number < 1 << 16:
        raise ValueError("must be from 0 to 65535")
    return number


def choice(*words: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return parse


def requirement(text: str) -> str:
    """Whether clients have certificates, in a word or as a number of ssl.VerifyMode."""
    words = [mode.name.removeprefix("CERT_").lower() for mode in sorted(ssl.VerifyMode)]
    return words[int(text)] if text in ("0", "1", "2") else choice(*words)(text)


# RFC 9110, 5.1 and 5.5.
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = (b"connection", b"content-length", b"transfer-encoding")


def header(text: str) -> tuple[bytes, bytes]:
    """A header as `Name: value`."""
    name, colon, value = text.partition(":")
    name = name.strip(" \t")
    if not colon or not name:
        raise ValueError("must be of the form 'Name: value'")
    return field(name.lower(), value.strip(" \t"))


def field(name: str | bytes, value: str | bytes) -> tuple[bytes, bytes]:
    """A header's name and value, in bytes. Raises ValueError where no response may have it."""
    encoded_name, encoded = _latin1(name), _latin1(value)
    if not _FIELD_NAME.fullmatch(encoded_name):
        raise ValueError("must have a name of letters, digits and !#$%&'*+-.^_`|~")
    if not _FIELD_VALUE.fullmatch(encoded):
        raise ValueError("must have no control characters, line breaks among them, in its value")
    if encoded_name.lower() in _FRAMING:
        raise ValueError("must not be one by which a connection is kept or a body ends")
    return encoded_name, encoded


def _latin1(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("must be of ISO 8859-1's characters") from None


def peers(text: str) -> tuple[str, ...]:
    """Addresses and networks, "unix" and "*", with commas between them."""
    names = tuple(each.strip() for each in text.split(",") if each.strip())
    Peers(names)
    return names


_LOCAL = ("127.0.0.1", "::1", "unix")


# Connections beyond limit_concurrency that are told so; whoever comes then is closed at once.
SURPLUS = 64
# Descriptors that are left for those and for the program's files, where it is not given.
RESERVE = 128
_FEWEST = 16  # connections, where there are hardly more descriptors than that


def connections() -> int:
    """How many there may be, unless that is given."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = sys.maxsize
    return max(soft - RESERVE, _FEWEST)


@dataclass(frozen=True)
class Option:
    """One of them. `parse` reads a text, and raises ValueError with what it must be."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    help: str
    group: str
    is_many: bool = False
    has_no_effect: bool = False

    @property
    def is_flag(self) -> bool:
        return self.parse is boolean

    @property
    def takes_word(self) -> bool:
        """Whether, a flag as it is, it may have true or false behind it, as uvicorn's has."""
        return self.name == "ws_per_message_deflate"

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return "PENSTOCK_" + self.name.upper()


def _group(name: str, *rows: tuple[Any, ...]) -> list[Option]:
    return [Option(row[0], row[1], row[2], row[3], name, *row[4:]) for row in rows]


OPTIONS: list[Option] = [
    *_group(
        "Where it listens",
        ("host", str, "127.0.0.1", "address to listen on"),
        ("port", port, 8000, "TCP port; 0: any that is free"),
        ("uds", str, None, "path of a Unix socket, instead"),
        ("fd", positive, None, "a listening socket that was inherited, instead"),
        ("backlog", positive, 2048, "connections that the kernel keeps until they are accepted"),
    ),
    *_group(
        "The application",
        ("factory", boolean, False, "the application is what a call without arguments returns"),
        ("app_dir", str, "", "directory to import it from; the current one"),
        (
            "interface",
            choice("auto", "asgi3", "asgi2", "wsgi", "aiohttp"),
            "auto",
            "what it speaks",
        ),
        ("lifespan", choice("auto", "on", "off"), "auto", "whether it is told of start and end"),
        ("wsgi_threads", positive, 10, "threads in which a WSGI application runs"),
        ("root_path", str, "", "path that a proxy in front has taken off"),
        ("env_file", str, None, "file of NAME=value lines for the environment"),
    ),
    *_group(
        "Headers",
        ("server_header", boolean, True, "send `server: penstock`"),
        ("date_header", boolean, True, "send `date`"),
        (
            "header",
            header,
            (),
            "a header for each response, 'Name: value'; a Server or a Date is the only one",
            True,
        ),
    ),
    *_group(
        "Proxies in front",
        ("proxy_headers", boolean, True, "believe their X-Forwarded-For and X-Forwarded-Proto"),
        ("forwarded_header", boolean, False, "believe their Forwarded (RFC 7239) instead of these"),
        (
            "forwarded_allow_ips",
            peers,
            _LOCAL,
            "whom: addresses and networks with commas between, unix for Unix sockets, * for all",
        ),
        ("proxy_protocol", boolean, False, "connections begin with the PROXY protocol, v1 or v2"),
        ("proxy_protocol_allow_ips", peers, _LOCAL, "whose; others are closed"),
    ),
    *_group(
        "Files",
        (
            "static",
            Mount.parse,
            (),
            "PREFIX=DIR: files of the directory, for paths that begin so",
            True,
        ),
        ("static_follow_symlinks", boolean, False, "also those that leave their directory"),
    ),
    *_group(
        "TLS",
        ("ssl_certfile", str, None, "certificate chain, PEM: HTTPS"),
        ("ssl_keyfile", str, None, "its key, where it is a file of its own"),
        ("ssl_keyfile_password", str, None, "what the key is encrypted with"),
        ("ssl_ca_certs", str, None, "certificates that clients' are checked by"),
        (
            "ssl_cert_reqs",
            requirement,
            "none",
            "whether a client has to have a certificate: none, optional or required",
        ),
        ("ssl_ciphers", str, None, "OpenSSL's list of ciphers for TLS 1.2"),
    ),
    *_group(
        "Limits",
        (
            "limit_concurrency",
            positive,
            None,
            "connections of each worker; the next get 503. Unless given, as many as it may have "
            f"descriptors (RLIMIT_NOFILE), less {RESERVE}. 0: no bound",
        ),
        ("limit_target", size, 16 << 10, "bytes of a request's target: 414"),
        ("limit_head", size, 64 << 10, "bytes of a request's head: 431"),
        ("limit_fields", positive, 128, "header fields of a request: 431"),
        ("limit_body", size, 1 << 30, "bytes of a request's body: 413"),
        ("limit_chunk_extension", size, 256, "bytes of a chunk's extension: 400"),
        ("limit_trailers", size, 8 << 10, "bytes of a chunked body's trailers: 431"),
        (
            "limit_pipelined",
            size,
            64 << 10,
            "bytes of further requests that wait for a response: then no more is read",
        ),
        (
            "limit_wsgi_spool",
            size,
            256 << 20,
            "bytes of bodies that are kept in temporary files for a WSGI application while half of "
            "its threads wait for others: then no more is read",
        ),
        (
            "timeout_head",
            seconds,
            30.0,
            "seconds for a request's head: 408, or closed where none has begun; as many for TLS's "
            "handshake and for a PROXY header: closed. 0: no bound",
        ),
        (
            "timeout_body",
            seconds,
            30.0,
            "seconds without a byte of a request's body: 408, or aborted where the response has "
            "begun; or of a WebSocket's message that has begun: 1008. 0: no bound",
        ),
        (
            "body_rate",
            size,
            240,
            "bytes a second that a body, or such a message, has to bring on the average: as above. "
            "0: none",
        ),
        (
            "timeout_body_grace",
            seconds,
            10.0,
            "seconds before that rate is asked for. 0: it is at once",
        ),
        (
            "timeout_keep_alive",
            seconds,
            5.0,
            "seconds between two requests of a connection: closed. 0: no bound",
        ),
        (
            "timeout_request",
            seconds,
            0.0,
            "seconds for a whole response: 504, or aborted where it has begun. 0: no bound",
        ),
        (
            "timeout_write",
            seconds,
            60.0,
            "seconds in which a client takes less than --body-rate of what waits for it: aborted. "
            "0: no bound",
        ),
        (
            "limit_write_buffer",
            size,
            128 << 10,
            "bytes of a response that the kernel takes in before the client has a place for them; "
            "more waits in the application. 0: what the kernel likes",
        ),
        (
            "timeout_linger",
            seconds,
            2.0,
            "seconds that a refused client may go on sending: aborted. 0: no bound",
        ),
    ),
    *_group(
        "WebSockets",
        (
            "ws",
            choice("auto", "none", "websockets", "websockets-sansio", "wsproto"),
            "auto",
            "none: not served, such a request is one of HTTP; all others: served",
        ),
        ("ws_max_size", size, 16 << 20, "bytes of a message, inflated: 1009"),
        (
            "ws_max_queue",
            positive,
            32,
            "messages that wait for the application: then no more is read. 0: one",
        ),
        ("ws_ping_interval", seconds, 20.0, "seconds between pings. 0: none"),
        (
            "ws_ping_timeout",
            seconds,
            20.0,
            "seconds without a byte after a ping: 1011. 0: no bound",
        ),
        (
            "ws_close_timeout",
            seconds,
            10.0,
            "seconds for the client's part of a closing handshake: closed. 0: no bound",
        ),
        ("ws_per_message_deflate", boolean, True, "compress, where the client offers it"),
        (
            "limit_ws_fragments",
            positive,
            1024,
            "fragments of a message, of any size; more of a few bytes each: 1009",
        ),
        (
            "limit_ws_inflation",
            positive,
            256,
            "bytes that one of a compressed message may become, if that is large: 1009. 0: any",
        ),
    ),
    *_group(
        "The process",
        (
            "timeout_graceful_shutdown",
            seconds,
            30.0,
            "seconds for what is under way at the end. 0: no bound",
        ),
        (
            "timeout_drain",
            seconds,
            1.0,
            "seconds that a connection without a request is kept for one when the server ends: "
            "closed. 0: none",
        ),
        (
            "limit_max_requests",
            positive,
            0,
            "requests, after which a worker is replaced, each by its own count, or the one process "
            "ends. 0: never",
        ),
        ("limit_max_requests_jitter", positive, 0, "at random up to so many requests more"),
    ),
    *_group(
        "Workers",
        (
            "workers",
            positive,
            None,
            "processes under a supervisor; 0: none, this process serves. WEB_CONCURRENCY, or 0",
        ),
        (
            "timeout_worker_healthcheck",
            seconds,
            30.0,
            "seconds that a worker's event loop may be blocked: killed, replaced. 0: no bound",
        ),
        ("limit_worker_lifetime", seconds, 0.0, "seconds after which it is replaced. 0: never"),
        ("limit_worker_rss", size, 0, "resident bytes from which on it is replaced. 0: never"),
    ),
    *_group(
        "Development",
        ("reload", boolean, False, "start anew when a file changes; one worker"),
        ("reload_dir", str, (), "directory to watch; the current one", True),
        ("reload_include", str, (), "pattern of files that count, besides *.py", True),
        ("reload_exclude", str, (), "pattern of files or directories that do not", True),
        ("reload_delay", interval, 0.25, "seconds between two looks at the files"),
    ),
    *_group(
        "Metrics",
        ("metrics_port", port, None, "TCP port for Prometheus; 0: any that is free"),
        ("metrics_host", str, "127.0.0.1", "address of that"),
    ),
    *_group(
        "Logs",
        (
            "log_level",
            choice("critical", "error", "warning", "info", "debug", "trace"),
            "info",
            "what is logged",
        ),
        ("log_config", str, None, "file for logging.config: .json, .toml, else .ini"),
        ("access_log", boolean, True, "log each request"),
        (
            "access_log_format",
            format_of,
            None,
            "the line of a request, with atoms as gunicorn's, %(h)s, or Apache's, %h",
        ),
        ("access_log_json", boolean, False, "the line of a request is a JSON object"),
        ("use_colors", boolean, None, "colours in logs; where they go to a terminal"),
    ),
    *_group(
        "As uvicorn has them",
        (
            "h11_max_incomplete_event_size",
            size,
            None,
            "limit_head by another name, which counts where it is given",
        ),
        ("http2", boolean, False, "refused: HTTP/1.1 is spoken, and more by a proxy in front"),
        ("loop", str, "auto", "no effect: the loop is penstock's", False, True),
        ("http", str, "auto", "no effect: so is the implementation of HTTP", False, True),
        ("ssl_version", str, None, "no effect: TLS 1.2 and 1.3", False, True),
        (
            "reset_contextvars",
            boolean,
            False,
            "no effect: each request has a context of its own in any case",
            False,
            True,
        ),
    ),
]

BY_NAME = {option.name: option for option in OPTIONS}
# uvicorn.run()'s keywords for what the command line may have several times.
PLURALS = {f"{option.name}s": option.name for option in OPTIONS if option.is_many}
# Where None, as it stands in calls of uvicorn.run(), means what 0 does.
UNBOUNDED = frozenset(
    {
        "limit_max_requests",
        "timeout_graceful_shutdown",
        "ws_ping_interval",
        "ws_ping_timeout",
    }
)
