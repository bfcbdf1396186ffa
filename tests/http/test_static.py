"""Files of directories: what is found, what is not, and in which parts."""

import gzip
import os
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock._serve.config import ServerError
from penstock._serve.static import _ranges_of

from .programs import curl
from .served import served, served_by_command

CONTENT = bytes(range(256)) * 1000
DATE = 1_600_000_000


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the application"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("static")
    root = base / "root"
    (root / "sub").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / ".well-known").mkdir()
    (root / "data").write_bytes(CONTENT)
    os.utime(root / "data", (DATE, DATE))
    (root / "none").write_bytes(b"")
    (root / "page.html").write_text("<p>page</p>")
    (root / "caf\u00e9 1.txt").write_text("coffee")
    (root / "sub" / "index.html").write_text("index")
    (root / ".well-known" / "x.txt").write_text("known")
    (root / ".secret").write_text("secret")
    (root / "big.css").write_text("body {}" * 1000)
    (root / "big.css.gz").write_bytes(gzip.compress(b"body {}" * 1000))
    (root / "big.css.br").write_bytes(b"brotli, or so")
    (root / "a.tar.gz").write_bytes(gzip.compress(b"tar"))
    (base / "outside").write_text("outside")
    (base / "root-too").mkdir()
    (base / "root-too" / "x").write_text("outside")
    (root / "leaves").symlink_to(base / "outside")
    (root / "leaves-too").symlink_to(base / "root-too")
    (root / "stays").symlink_to(root / "page.html")
    (root / "dangling").symlink_to(root / "nothing")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture(scope="module")
def server(folder):
    with served(app, static=[f"/static={folder}", f"/static/deep/={folder}/sub"]) as server:
        yield server


class TestFinding:
    @pytest.mark.parametrize(
        ("path", "body", "kind"),
        [
            ("/static/data", CONTENT, "application/octet-stream"),
            ("/static/none", b"", "application/octet-stream"),
            ("/static/page.html", b"<p>page</p>", "text/html; charset=utf-8"),
            ("/static/p%61ge.html?v=1", b"<p>page</p>", "text/html; charset=utf-8"),
            ("/static/caf%C3%A9%201.txt", b"coffee", "text/plain; charset=utf-8"),
            ("/static/sub/", b"index", "text/html; charset=utf-8"),
            ("/static/deep/", b"index", "text/html; charset=utf-8"),
            ("/static/stays", b"<p>page</p>", "application/octet-stream"),
            ("/static/.well-known/x.txt", b"known", "text/plain; charset=utf-8"),
            ("/static/a.tar.gz", gzip.compress(b"tar"), "application/gzip"),
        ],
    )
    def test_files(self, server, path, body, kind):
        status, fields, content = server.get(path)
        assert status == 200
        assert fields["content-type"] == kind
        if not path.endswith(".gz"):
            assert content == body
        assert fields["content-length"] == str(len(content))
        assert fields["accept-ranges"] == "bytes"
        status, head, content = server.get(path, method="HEAD")
        assert (status, content) == (200, b"")
        assert {name: value for name, value in head if name != "Date"} == {
            name: value for name, value in fields if name != "Date"
        }

    @pytest.mark.parametrize(
        "path",
        [
            "/static/nothing",
            "/static/",
            "/static/empty/",
            "/static/empty",
            "/static/data/",
            "/static/data/more",
            "/static/../outside",
            "/static/sub/../../outside",
            "/static/%2e%2e/outside",
            "/static/..%2foutside",
            "/static/%2E%2E%2Froot-too/x",
            "/static/..\\outside",
            "/static//etc/passwd",
            "/static/%2fetc/passwd",
            "/static/./data",
            "/static/sub//index.html",
            "/static/data%00",
            "/static/data%00.html",
            "/static/.secret",
            "/static/sub/.",
            "/static/leaves",
            "/static/leaves-too/x",
            "/static/dangling",
            "/static/pipe",
            "/static/%ff",
            "/static/" + "x" * 5000,
            "/static/deep/../data",
        ],
    )
    def test_what_is_not_there(self, server, path):
        status, _, body = server.get(path)
        assert (status, body) == (404, b"Not Found")

    def test_a_directory_without_its_slash(self, server):
        status, fields, _ = server.get("/static/sub?a=b")
        assert (status, fields["location"]) == (301, "/static/sub/?a=b")

    @pytest.mark.parametrize("path", ["/", "/static", "/statics/data", "/other/../static/data"])
    def test_everything_else_is_the_applications(self, server, path):
        assert server.get(path)[2] == b"the application"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    def test_other_methods(self, server, method):
        status, fields, _ = server.get("/static/data", method=method)
        assert (status, fields["allow"]) == (405, "GET, HEAD")

    def test_symbolic_links_may_be_allowed_to_leave(self, folder):
        with served(app, static=f"/={folder}", static_follow_symlinks=True) as server:
            assert server.get("/leaves")[2] == server.get("/leaves-too/x")[2] == b"outside"
            assert server.get("/../outside")[0] == 404

    def test_below_a_root_path(self, folder):
        with served(app, static=f"/s={folder}", root_path="/api") as server:
            assert server.get("/s/page.html")[2] == b"<p>page</p>"
            assert server.get("/s/sub")[1]["location"] == "/api/s/sub/"

    @pytest.mark.parametrize("text", ["x", "/x", "x=/", "/x=", "/x=/no/such/place"])
    def test_what_is_no_mount(self, text):
        with pytest.raises(ServerError, match="static"), served(app, static=text):
            pass

    def test_of_a_wsgi_application(self, folder):
        def wsgi(environ, start_response):
            start_response("200 OK", [])
            return [b"wsgi"]

        with served(wsgi, static=f"/s={folder}") as server:
            assert server.get("/s/page.html")[2] == b"<p>page</p>"
            assert server.get("/")[2] == b"wsgi"


class TestValidators:
    def tags(self, server, path="/static/data"):
        fields = server.get(path)[1]
        return fields["etag"], fields["last-modified"]

    def test_are_strong(self, server):
        tag, modified = self.tags(server)
        assert tag.startswith('"') and tag.endswith('"')
        assert modified == formatdate(DATE, usegmt=True)

    @pytest.mark.parametrize(
        ("field", "value", "status"),
        [
            ("If-None-Match", "{tag}", 304),
            ("If-None-Match", 'W/{tag}, "x"', 304),
            ("If-None-Match", "*", 304),
            ("If-None-Match", '"x"', 200),
            ("If-Modified-Since", formatdate(DATE, usegmt=True), 304),
            ("If-Modified-Since", formatdate(DATE - 1, usegmt=True), 200),
            ("If-Modified-Since", "yesterday", 200),
            ("If-Match", "{tag}", 200),
            ("If-Match", "W/{tag}", 412),
            ("If-Match", '"x"', 412),
            ("If-Unmodified-Since", formatdate(DATE, usegmt=True), 200),
            ("If-Unmodified-Since", formatdate(DATE - 1, usegmt=True), 412),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_preconditions(self, server, field, value, status, method):
        tag = self.tags(server)[0]
        found, fields, body = server.get(
            "/static/data", f"{field}: {value.format(tag=tag)}", method=method
        )
        assert found == status
        assert fields["etag"] == tag
        assert body == (CONTENT if status == 200 and method == "GET" else b"")

    def test_the_tag_counts_more_than_the_date(self, server):
        date = f"If-Modified-Since: {formatdate(DATE, usegmt=True)}"
        assert server.get("/static/data", 'If-None-Match: "x"', date)[0] == 200


class TestRanges:
    @pytest.mark.parametrize(
        ("value", "begin", "end"),
        [
            ("0-0", 0, 1),
            ("10-19", 10, 20),
            ("100-", 100, 256_000),
            ("-5", 255_995, 256_000),
            ("-999999999", 0, 256_000),
            ("255999-999999999999", 255_999, 256_000),
            ("0-255999", 0, 256_000),
            ("10-19,999999-", 10, 20),
        ],
    )
    def test_one(self, server, value, begin, end):
        status, fields, body = server.get("/static/data", f"Range: bytes={value}")
        assert status == 206
        assert body == CONTENT[begin:end]
        assert fields["content-range"] == f"bytes {begin}-{end - 1}/256000"
        assert fields["content-length"] == str(end - begin)

    @pytest.mark.parametrize("value", ["256000-", "999999-9999999", "-0"])
    def test_none_of_it(self, server, value):
        status, fields, body = server.get("/static/data", f"Range: bytes={value}")
        assert (status, fields["content-range"], body) == (416, "bytes */256000", b"")

    @pytest.mark.parametrize(
        "value",
        [
            "bytes=",
            "bytes=-",
            "bytes=5-1",
            "bytes=a-b",
            "bytes=1-2-3",
            "bytes=\xb2-\xb3",
            "lines=1-2",
            "bytes",
            "bytes=0-9,5-15",
            "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(17)),
            "bytes=" + "9" * 5000 + "-",
        ],
    )
    def test_what_is_ignored(self, server, value):
        assert server.get("/static/data", f"Range: {value}")[0] == 200

    def test_several(self, server):
        status, fields, body = server.get("/static/data", "Range: bytes=0-9, -10, 100-200000")
        assert status == 206
        assert fields["content-length"] == str(len(body))
        kind, _, boundary = fields["content-type"].partition("; boundary=")
        assert kind == "multipart/byteranges"
        parts = body.split(f"\r\n--{boundary}".encode())
        assert parts[0] == b"" and parts[-1] == b"--\r\n"
        expected = [(0, 10), (255_990, 256_000), (100, 200_001)]
        for part, (begin, end) in zip(parts[1:-1], expected, strict=True):
            head, _, content = part.partition(b"\r\n\r\n")
            assert f"content-range: bytes {begin}-{end - 1}/256000" in head.decode()
            assert content == CONTENT[begin:end]

    @pytest.mark.parametrize(
        ("condition", "status"),
        [
            ("{tag}", 206),
            ("W/{tag}", 200),
            ('"x"', 200),
            (formatdate(DATE, usegmt=True), 206),
            (formatdate(DATE + 1, usegmt=True), 200),
            ("nonsense", 200),
        ],
    )
    def test_if_range(self, server, condition, status):
        tag = server.get("/static/data", method="HEAD")[1]["etag"]
        found = server.get(
            "/static/data", "Range: bytes=0-1", f"If-Range: {condition.format(tag=tag)}"
        )
        assert found[0] == status

    def test_not_of_a_head(self, server):
        assert server.get("/static/data", "Range: bytes=0-1", method="HEAD")[0] == 200

    @settings(max_examples=300)
    @given(st.text(st.sampled_from("0123456789-, =bytes")), st.integers(0, 40))
    def test_any(self, text, size):
        ranges = _ranges_of(f"bytes={text}", size)
        assert all(0 <= begin < end <= size for begin, end in ranges or ())
        assert sum(end - begin for begin, end in ranges or ()) <= size

    def test_curl_resumes(self, server, tmp_path):
        part = tmp_path / "part"
        part.write_bytes(CONTENT[:1000])
        curl(f"{server.url}/static/data", "-C", "-", "-o", str(part))
        assert part.read_bytes() == CONTENT


class TestPacked:
    @pytest.mark.parametrize(
        ("accepted", "coding"),
        [
            ("gzip", "gzip"),
            ("gzip, br", "br"),
            ("gzip, br;q=0.5", "gzip"),
            ("br;q=0, gzip", "gzip"),
            ("*", "br"),
            ("*;q=0", None),
            ("identity", None),
            ("gzip;q=0", None),
            ("gzip;q=nonsense", None),
            ("zstd", None),
        ],
    )
    def test_what_the_client_likes_best(self, server, accepted, coding):
        plain = server.get("/static/big.css")
        status, fields, body = server.get("/static/big.css", f"Accept-Encoding: {accepted}")
        assert status == 200
        assert fields["content-encoding"] == coding
        assert fields["vary"] == plain[1]["vary"] == "accept-encoding"
        assert fields["content-type"] == "text/css; charset=utf-8"
        assert (fields["etag"] == plain[1]["etag"]) == (coding is None)
        if coding == "gzip":
            assert gzip.decompress(body) == plain[2]

    def test_where_there_is_none(self, server):
        fields = server.get("/static/page.html", "Accept-Encoding: gzip, br")[1]
        assert fields["content-encoding"] is None and fields["vary"] is None


def test_a_file_that_is_large(tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(20_000_000))
    with served(app, static=f"/={tmp_path}") as server:
        assert curl(f"{server.url}/large") == (tmp_path / "large").read_bytes()


def test_on_the_command_line(folder):

    (folder / "an_app.py").write_text("async def app(scope, receive, send): raise KeyError\n")
    words = ("an_app:app", "--static", f"/a={folder}", "--static", f"/b={folder}/sub")
    with served_by_command(*words, directory=folder) as (_, port):
        for path, content in (("a/page.html", b"<p>page</p>"), ("b/", b"index")):
            assert curl(f"http://127.0.0.1:{port}/{path}") == content
