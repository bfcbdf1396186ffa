"""Files of directories, in front of an application: `--static PREFIX=DIR`.

GET and HEAD, with ranges (RFC 9110, 14), validators and preconditions (13), and .br and .gz files
that stand beside (Accept-Encoding, 12.5.3). The kernel sends them: http.response.zerocopysend.

A request can name nothing outside of its directory: a segment that is "..", or begins with a dot
(but for .well-known), is no file of it, and of each file that was opened the kernel is asked where
it lies, so that a symbolic link which leaves is found out without a race.
"""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import secrets
import stat
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import quote

_CODINGS = (("br", ".br"), ("gzip", ".gz"))  # the better one first
_TEXTS = frozenset({"application/javascript", "application/json", "image/svg+xml"})
_MOST_RANGES = 16
_BLOCK = 64 * 1024
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO)
_RANGE = re.compile(r"(\d*)-(\d*)")

Headers = list[tuple[bytes, bytes]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Mount(NamedTuple):
    """Files below `directory`, for paths that begin with `prefix`, which ends with a slash."""

    prefix: str
    directory: str

    @staticmethod
    def parse(text: str) -> Mount:
        """`PREFIX=DIR`. Raises ValueError."""
        prefix, equals, directory = text.partition("=")
        if not equals or not prefix.startswith("/") or not directory:
            raise ValueError("must be of the form '/prefix=directory'")
        if not os.path.isdir(directory):
            raise ValueError("must name a directory that is there")
        return Mount(prefix.rstrip("/") + "/", os.path.realpath(directory))


class StaticFiles:
    """An ASGI 3 callable: files under the mounts' prefixes, and `app` for everything else."""

    def __init__(self, app: Any, mounts: tuple[Mount, ...], *, follow_symlinks: bool) -> None:
        """`follow_symlinks`: also those that leave their directory."""
        self._app = app
        self._mounts = sorted(mounts, key=lambda mount: -len(mount.prefix))
        self._follow_symlinks = follow_symlinks

    # Not a coroutine function: the application's requests shall not pay for one more coroutine.
    def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        """The coroutine that answers."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope["root_path"])
            for mount in self._mounts:
                if path.startswith(mount.prefix):
                    rest = path[len(mount.prefix) :]
                    return self._serve(mount.directory, rest, scope, send)
        return self._app(scope, receive, send)

    async def _serve(self, directory: str, rest: str, scope: dict[str, Any], send: Any) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            allow = [(b"allow", b"GET, HEAD")]
            return await _tell(send, 405, b"Method Not Allowed", allow)
        fields = _fields_of(scope)
        found = self._find(directory, rest, fields.get("accept-encoding", ""))
        if found is None:
            return await _tell(send, 404, b"Not Found")
        if isinstance(found, str):
            return await _tell(send, 301, b"", [(b"location", _location(scope))])
        with found.file:
            await _Answer(found, fields, scope, send).send_all()

    def _find(self, directory: str, rest: str, accepted: str) -> _Found | str | None:
        """The file; "/" for a directory without its slash; None."""
        if not _is_tame(rest):
            return None
        path = f"{directory}/{rest}"
        if rest == "" or rest.endswith("/"):
            path += "index.html"
        opened = self._open(directory, path)
        if opened is None:
            return None
        file, status = opened
        if stat.S_ISDIR(status.st_mode):
            os.close(file)
            return "/" if os.path.isfile(f"{path}/index.html") else None
        found = _Found(file, status, path)
        return self._packed(directory, found, accepted) or found

    def _packed(self, directory: str, found: _Found, accepted: str) -> _Found | None:
        """One that stands beside it, of a coding that the client likes best."""
        if "br" not in accepted and "gzip" not in accepted and "*" not in accepted:
            found.has_packed = self._is_packed(found.path)
            return None
        weights = _weights_of(accepted)
        usual = weights.get("*", 0.0)
        codings = sorted(_CODINGS, key=lambda each: -weights.get(each[0], usual))
        for coding, suffix in codings:
            if weights.get(coding, usual) <= 0:
                continue
            opened = self._open(directory, found.path + suffix)
            if opened is None:
                continue
            file, status = opened
            if stat.S_ISREG(status.st_mode):
                found.file.close()
                packed = _Found(file, status, found.path, coding)
                packed.has_packed = True
                return packed
            os.close(file)
        found.has_packed = self._is_packed(found.path)
        return None

    def _is_packed(self, path: str) -> bool:
        return any(os.path.isfile(path + suffix) for _, suffix in _CODINGS)

    def _open(self, directory: str, path: str) -> tuple[int, os.stat_result] | None:
        """A descriptor of a regular file, or a directory, in `directory`. Raises OSError."""
        try:
            # Whoever opens a pipe would wait for its writer.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except PermissionError:
            return None
        except OSError as error:
            if error.errno in _MISSING:
                return None
            raise
        except UnicodeEncodeError:
            return None
        status = os.fstat(fd)
        is_right = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if not is_right or not (self._follow_symlinks or _lies_in(directory, fd)):
            os.close(fd)
            return None
        return fd, status


class _Found:
    """A file that was opened. `coding` is that of its content, where it stands for another."""

    def __init__(
        self, fd: int, status: os.stat_result, path: str, coding: str | None = None
    ) -> None:
        self.file = open(fd, "rb", buffering=0)  # noqa: SIM115 -- until it is sent
        self.path = path
        self.coding = coding
        self.size = status.st_size
        self.modified = int(status.st_mtime)
        # A file that changes twice within a tick of the file system's clock keeps its size rarely.
        self.etag = f'"{status.st_mtime_ns:x}-{status.st_size:x}{coding or ""}"'
        self.has_packed = False


def _is_tame(rest: str) -> bool:
    if "\0" in rest:
        return False
    segments = rest.split("/")
    if segments[-1] == "":
        segments.pop()
    return all(each and (each[0] != "." or each == ".well-known") for each in segments)


def _lies_in(directory: str, fd: int) -> bool:
    where = os.readlink(f"/proc/self/fd/{fd}")
    return where == directory or where.startswith(directory.rstrip("/") + "/")


def _fields_of(scope: dict[str, Any]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    return fields


def _location(scope: dict[str, Any]) -> bytes:
    query: bytes = scope["query_string"]
    path = quote(scope["path"], safe="/:@!$&'()*+,;=~").encode() + b"/"
    return path + b"?" + query if query else path


def _weights_of(accepted: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for each in accepted.lower().split(","):
        name, _, parameter = each.partition(";")
        key, _, value = parameter.strip().partition("=")
        weight = 1.0
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
        weights[name.strip()] = weight
    return weights


def _type_of(path: str) -> str:
    kind, packing = mimetypes.guess_type(path)
    if packing is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2"}.get(
            packing, "application/octet-stream"
        )
    if kind is None:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind in _TEXTS else kind


async def _tell(send: Any, status: int, text: bytes, headers: Headers | None = None) -> None:
    fields = [(b"content-type", b"text/plain; charset=utf-8"), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": text})


# ---- preconditions and ranges ----------------------------------------------------------------


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _has_tag(found: _Found, tags: str, *, weakly: bool) -> bool:
    if tags.strip() == "*":
        return True
    each = [tag.strip() for tag in tags.split(",")]
    return found.etag in each or (weakly and f"W/{found.etag}" in each)


def _precondition(found: _Found, fields: dict[str, str]) -> int | None:
    """RFC 9110, 13.2.2: the status where the request is not to be answered as it stands."""
    if "if-match" in fields:
        if not _has_tag(found, fields["if-match"], weakly=False):
            return 412
    elif "if-unmodified-since" in fields:
        date = _date(fields["if-unmodified-since"])
        if date is not None and found.modified > date:
            return 412
    if "if-none-match" in fields:
        if _has_tag(found, fields["if-none-match"], weakly=True):
            return 304
    elif "if-modified-since" in fields:
        date = _date(fields["if-modified-since"])
        if date is not None and found.modified <= date:
            return 304
    return None


def _still_holds(found: _Found, condition: str | None) -> bool:
    """If-Range: the ranges are of the same file as what the client has."""
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):
        return condition.strip() == found.etag
    return _date(condition) == found.modified


def _ranges_of(text: str, size: int) -> list[tuple[int, int]] | None:
    """[(first, end), …], in the order of the request, none of them overlapping.

    None where the field is to be ignored; empty where nothing of it is in the file.
    """
    unit, equals, specs = text.partition("=")
    each = [spec.strip() for spec in specs.split(",") if spec.strip()]
    if unit.strip().lower() != "bytes" or not equals or not 0 < len(each) <= _MOST_RANGES:
        return None
    ranges: list[tuple[int, int]] = []
    for spec in each:
        found = _RANGE.fullmatch(spec)
        if found is None or not spec.isascii() or spec == "-" or len(spec) > 40:
            return None
        first, last = found.groups()
        if first and last and int(first) > int(last):
            return None
        begin = int(first) if first else max(0, size - int(last))
        end = min(int(last) + 1, size) if first and last else size
        if begin < end:
            ranges.append((begin, end))
    in_order = sorted(ranges)
    if any(a[1] > b[0] for a, b in pairwise(in_order)):
        return None  # who asks for the same twice means no good: RFC 9110, 14.2
    return ranges


class _Answer:
    """The response about a file that was found."""

    def __init__(
        self, found: _Found, fields: dict[str, str], scope: dict[str, Any], send: Any
    ) -> None:
        self._found = found
        self._fields = fields
        self._is_get = scope["method"] == "GET"
        self._zero_copies = "http.response.zerocopysend" in scope.get("extensions", {})
        self._send: Send = send
        modified = datetime.fromtimestamp(found.modified, UTC)
        self._headers: Headers = [
            (b"etag", found.etag.encode()),
            (b"last-modified", format_datetime(modified, usegmt=True).encode()),
            (b"accept-ranges", b"bytes"),
        ]
        if found.has_packed:
            self._headers.append((b"vary", b"accept-encoding"))
        if found.coding is not None:
            self._headers.append((b"content-encoding", found.coding.encode()))

    async def send_all(self) -> None:
        found, fields = self._found, self._fields
        status = _precondition(found, fields)
        if status is not None:
            await self._start(status, [] if status == 304 else [(b"content-length", b"0")])
            return await self._send({"type": "http.response.body"})
        ranges = None
        if self._is_get and "range" in fields and _still_holds(found, fields.get("if-range")):
            ranges = _ranges_of(fields["range"], found.size)
        kind = _type_of(found.path).encode()
        if ranges is None:
            await self._start(200, [(b"content-type", kind), _length(found.size)])
            await self._send_file(0, found.size, more_body=False)
        elif not ranges:
            unsatisfied = (b"content-range", b"bytes */%d" % found.size)
            await self._start(416, [unsatisfied, (b"content-length", b"0")])
            await self._send({"type": "http.response.body"})
        elif len(ranges) == 1:
            begin, end = ranges[0]
            told = [(b"content-type", kind), _content_range(begin, end, found.size)]
            await self._start(206, [*told, _length(end - begin)])
            await self._send_file(begin, end - begin, more_body=False)
        else:
            await self._send_parts(kind, ranges)

    async def _start(self, status: int, headers: Headers) -> None:
        headers = [*headers, *self._headers]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _send_parts(self, kind: bytes, ranges: list[tuple[int, int]]) -> None:
        """multipart/byteranges: RFC 9110, 14.6."""
        boundary = secrets.token_hex(16).encode()
        heads = [
            b"\r\n--%s\r\ncontent-type: %s\r\n%s: %s\r\n\r\n"
            % (boundary, kind, *_content_range(begin, end, self._found.size))
            for begin, end in ranges
        ]
        tail = b"\r\n--%s--\r\n" % boundary
        size = sum(map(len, heads)) + sum(end - begin for begin, end in ranges) + len(tail)
        multipart = b"multipart/byteranges; boundary=" + boundary
        await self._start(206, [(b"content-type", multipart), _length(size)])
        for head, (begin, end) in zip(heads, ranges, strict=True):
            await self._send({"type": "http.response.body", "body": head, "more_body": True})
            await self._send_file(begin, end - begin, more_body=True)
        await self._send({"type": "http.response.body", "body": tail})

    async def _send_file(self, offset: int, count: int, *, more_body: bool) -> None:
        if not self._is_get or count == 0:
            return await self._send({"type": "http.response.body", "more_body": more_body})
        if self._zero_copies:
            return await self._send(
                {
                    "type": "http.response.zerocopysend",
                    "file": self._found.file,
                    "offset": offset,
                    "count": count,
                    "more_body": more_body,
                }
            )
        for block, is_last in self._blocks(offset, count):
            await self._send(
                {"type": "http.response.body", "body": block, "more_body": more_body or not is_last}
            )

    def _blocks(self, offset: int, count: int) -> Iterator[tuple[bytes, bool]]:
        fd, end = self._found.file.fileno(), offset + count
        while offset < end:
            block = os.pread(fd, min(_BLOCK, end - offset), offset)
            if not block:
                raise OSError(f"{self._found.path} has become shorter")
            offset += len(block)
            yield block, offset == end


def _length(size: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % size)


def _content_range(begin: int, end: int, size: int) -> tuple[bytes, bytes]:
    return (b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, size))
