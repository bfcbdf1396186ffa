"""Write the tables of docs/reference/serve.md: the options of `penstock serve`, and its limits that
are no options, whose numbers are read from the sources.

Run it with a Python that has penstock after an option or a limit has changed; `--check` exits 1
where the page is stale.
"""

import re
import sys
from itertools import groupby
from pathlib import Path

from penstock._serve.options import OPTIONS, Option, boolean, size

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "serve.md"
OPTIONS_MARKS = ("<!-- options -->\n", "<!-- end of options -->\n")
FIXED_MARKS = ("<!-- fixed limits -->\n", "<!-- end of fixed limits -->\n")
CONNECTION = "binding/asgi/http_requests.cc"
LIMITS = "core/http1/limits.h"
WEBSOCKET_LIMITS = "core/websocket/limits.h"
PROXY = "python/penstock/_serve/proxy_protocol.py"
SERVE_OPTIONS = "python/penstock/_serve/options.py"
# What is bounded, by which constant of which file, how it is counted, and what comes of more.
FIXED = (
    ("bytes of a method", "core/http1/request_line.cc", "kMethodBytes", "", "501"),
    ("empty lines before a request", "core/http1/request_parser.cc", "kEmptyLines", "", "400"),
    ("digits of a chunk's size", "core/http1/chunked.cc", "kMostDigits", "", "400"),
    ("chunks of a body, of any size", LIMITS, "free_chunks", "", "400"),
    ("bytes that have to come for each chunk more", LIMITS, "bytes_a_chunk", "", "400"),
    (
        "bytes of a request's body that wait for the application",
        CONNECTION,
        "kMostBodyWaiting",
        "KiB",
        "no more is read",
    ),
    (
        "bytes of a body that are thrown away where the answer came before it",
        CONNECTION,
        "kMostDiscarded",
        "KiB",
        "closed",
    ),
    (
        "requests of a connection that are answered in one turn of the loop",
        CONNECTION,
        "kMostRequestsATurn",
        "",
        "the next turn's",
    ),
    (
        "subprotocols that a WebSocket's client offers",
        "core/websocket/handshake.cc",
        "kMostSubprotocols",
        "",
        "400",
    ),
    (
        "bytes of a WebSocket's messages that wait for the application",
        "binding/asgi/websocket_session.cc",
        "kMostQueuedBytes",
        "MiB",
        "no more is read",
    ),
    (
        "bytes that have to come for each fragment beyond `--limit-ws-fragments`",
        WEBSOCKET_LIMITS,
        "bytes_a_fragment",
        "",
        "1009",
    ),
    (
        "bytes that any message may be inflated to, if it is no larger than `--ws-max-size`",
        WEBSOCKET_LIMITS,
        "free_inflated",
        "MiB",
        "`--limit-ws-inflation`",
    ),
    (
        "bytes of a body that wait in memory for a WSGI application's thread",
        "python/penstock/_serve/wsgi_body.py",
        "SHORT",
        "KiB",
        "in a temporary file",
    ),
    ("bytes of a PROXY header, version 1", PROXY, "_MOST_V1", "", "closed"),
    ("bytes behind the first 16 of one, version 2", PROXY, "_MOST_V2", "", "closed"),
    (
        "connections beyond `--limit-concurrency` that get 503",
        SERVE_OPTIONS,
        "SURPLUS",
        "",
        "closed at once",
    ),
    (
        "descriptors that are left unless `--limit-concurrency` is given",
        SERVE_OPTIONS,
        "RESERVE",
        "",
        "",
    ),
)


def default(option: Option) -> str:
    value = option.default
    if value is None or value == "" or value == ():
        return ""
    if isinstance(value, tuple):
        return ",".join(value)
    if option.parse is boolean:
        return "on" if value else "off"
    if option.parse is size:
        for unit, name in ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")):
            if value and value % unit == 0:
                return f"{value // unit}{name}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def row(option: Option) -> str:
    flag = f"`{option.flag}`"
    if option.parse is boolean:
        flag += f", `{option.flag.replace('--', '--no-', 1)}`"
    text = option.help.replace("|", "\\|")
    return f"| {flag} | {default(option)} | {text} |"


def number(path: str, name: str) -> int:
    """A constant of C++ or Python: a number, a product or a shift."""
    text = (ROOT / path).read_text()
    found = re.findall(rf"\b{name} = ([^;\n]+?)(?:;|  #|\n)", text)
    if len(found) != 1:
        raise SystemExit(f"{path} has {len(found)} constants {name}")
    value = re.sub(r"std::\w+\{(\d+)\}", r"\1", found[0])
    parts = re.fullmatch(r"(\d+)(?: (\*|<<) (\d+)U?)?", value)
    if parts is None:
        raise SystemExit(f"{path}: {name} is {value}, which is no plain number")
    first, operator, second = int(parts[1]), parts[2], int(parts[3] or 0)
    return first if operator is None else first * second if operator == "*" else first << second


def fixed_limits() -> str:
    """Markdown: a table."""
    rows = []
    for what, path, name, unit, effect in FIXED:
        value = number(path, name)
        size = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}[unit]
        if value % size:
            raise SystemExit(f"{path}: {name} is no whole number of {unit}")
        rows.append(f"| {what} | {f'{value // size} {unit}'.strip()} | {effect} |\n")
    return "\n| | | beyond |\n|---|---:|---|\n" + "".join(rows) + "\n"


def tables() -> str:
    """Markdown: a table a group."""
    parts = []
    for group, options in groupby(OPTIONS, key=lambda option: option.group):
        rows = "\n".join(map(row, options))
        parts.append(f"## {group}\n\n| option | default | |\n|---|---|---|\n{rows}\n")
    return "\n" + "\n".join(parts) + "\n"


def replaced(text: str, marks: tuple[str, str], content: str) -> str:
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} has lost {marks[0].strip()}")
    return before + begin + content + end + after


def main() -> int:
    text = PAGE.read_text()
    made = replaced(replaced(text, OPTIONS_MARKS, tables()), FIXED_MARKS, fixed_limits())
    if "--check" in sys.argv[1:]:
        if made != text:
            print(f"{PAGE.name} is stale: run tools/{Path(__file__).name}", file=sys.stderr)
        return int(made != text)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
