"""What proxies tell: X-Forwarded-…, Forwarded, and the PROXY protocol."""

import socket
import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from penstock._serve.config import ServerError
from penstock._serve.proxies import Peers, ProxyHeaders
from penstock._serve.proxy_protocol import Malformed, ends_of_v1, ends_of_v2, length_of_v2

from .served import read_all, served

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def who(scope, receive, send):
    """Tells the client's address and the scheme."""
    client = scope["client"] and f"{scope['client'][0]}|{scope['client'][1]}"
    server = scope["server"] and f"{scope['server'][0]}|{scope['server'][1]}"
    text = f"{client} {scope['scheme']} {server}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


def seen(headers, client=("127.0.0.1", 1), trusted=("127.0.0.1", "10.0.0.0/8"), **options):
    """(client, scheme) after the headers were looked at."""
    scope = {
        "type": "http",
        "client": client,
        "scheme": "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        **options.pop("scope", {}),
    }
    ProxyHeaders(trusted, **options)(scope)
    return scope["client"], scope["scheme"]


def xff(*values):
    return [("x-forwarded-for", value) for value in values]


class TestXForwarded:
    @pytest.mark.parametrize(
        ("values", "client"),
        [
            (["1.2.3.4"], ("1.2.3.4", 0)),
            (["1.2.3.4:567"], ("1.2.3.4", 567)),
            (["2001:db8::1"], ("2001:db8::1", 0)),
            (["[2001:db8::1]:567"], ("2001:db8::1", 567)),
            (["::ffff:1.2.3.4"], ("1.2.3.4", 0)),
            (["6.6.6.6, 1.2.3.4"], ("1.2.3.4", 0)),
            (["6.6.6.6, 1.2.3.4, 10.1.1.1"], ("1.2.3.4", 0)),
            (["6.6.6.6", "1.2.3.4", "10.1.1.1, 10.2.2.2"], ("1.2.3.4", 0)),
            (["10.1.1.1, 10.2.2.2"], ("10.1.1.1", 0)),
            (["1.2.3.4, unknown"], ("127.0.0.1", 1)),
            (["1.2.3.4, unknown, 10.1.1.1"], ("10.1.1.1", 0)),
            (['1.2.3.4", "x'], ("127.0.0.1", 1)),
            (["1.2.3.4:99999"], ("1.2.3.4", 0)),
            (["1.2.3.4:x"], ("1.2.3.4", 0)),
            ([""], ("127.0.0.1", 1)),
            ([",,,"], ("127.0.0.1", 1)),
            (["[::1"], ("127.0.0.1", 1)),
            (["\u0661.2.3.4".encode().decode("latin-1")], ("127.0.0.1", 1)),
        ],
    )
    def test_the_right_most_that_is_not_trusted(self, values, client):
        assert seen(xff(*values))[0] == client

    def test_everyone(self):
        assert seen(xff("1.2.3.4, 5.6.7.8"), ("9.9.9.9", 1), ["*"])[0] == ("1.2.3.4", 0)

    def test_who_is_not_trusted_tells_nothing(self):
        for client in (("9.9.9.9", 1), ("11.0.0.1", 1), None):
            headers = [*xff("1.2.3.4"), ("x-forwarded-proto", "https")]
            assert seen(headers, client) == (client, "http")

    def test_unix_sockets(self):
        assert seen(xff("1.2.3.4"), None, ["unix"])[0] == ("1.2.3.4", 0)

    def test_an_address_within_an_address(self):
        assert seen(xff("1.2.3.4"), ("::ffff:127.0.0.1", 1))[0] == ("1.2.3.4", 0)

    @pytest.mark.parametrize(
        ("scheme", "hops", "expected"),
        [
            ("https", "1.2.3.4", "https"),
            ("HTTPS", "1.2.3.4", "https"),
            ("wss", "1.2.3.4", "https"),
            ("gopher", "1.2.3.4", "http"),
            ("https, http", "1.2.3.4, 10.1.1.1", "https"),
            ("https, http", "6.6.6.6, 1.2.3.4", "http"),
            ("https, http", "1.2.3.4", "http"),
        ],
    )
    def test_the_scheme(self, scheme, hops, expected):
        assert seen([*xff(hops), ("x-forwarded-proto", scheme)])[1] == expected

    def test_a_websockets_scheme(self):
        headers = [("x-forwarded-proto", "https")]
        assert seen(headers, scope={"type": "websocket", "scheme": "ws"})[1] == "wss"

    def test_the_standard_header_is_not_believed_as_well(self):
        assert seen([("forwarded", "for=1.2.3.4;proto=https")]) == (("127.0.0.1", 1), "http")

    @given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=4))
    def test_anything_at_all(self, values):
        client = seen(xff(*values))[0]
        assert client == ("127.0.0.1", 1) or Peers(["*"]).has_client(client)


class TestForwarded:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("for=1.2.3.4", (("1.2.3.4", 0), "http")),
            ("For=1.2.3.4;Proto=HTTPS;by=10.1.1.1", (("1.2.3.4", 0), "https")),
            ('for="[2001:db8::1]:567"', (("2001:db8::1", 567), "http")),
            ('for="1.2.3.\\4"', (("1.2.3.4", 0), "http")),
            ("for=6.6.6.6, for=1.2.3.4;proto=https", (("1.2.3.4", 0), "https")),
            ("for=1.2.3.4;proto=https, for=10.1.1.1;proto=http", (("1.2.3.4", 0), "https")),
            ("for=_hidden", (("127.0.0.1", 1), "http")),
            ("for=unknown, for=10.1.1.1", (("10.1.1.1", 0), "http")),
            ("proto=https", (("127.0.0.1", 1), "https")),
            ('for="1.2.3.4', (("127.0.0.1", 1), "http")),
            ("for=1.2.3.4;for=5.6.7.8", (("127.0.0.1", 1), "http")),
            ("for = 1.2.3.4", (("127.0.0.1", 1), "http")),
            ("", (("127.0.0.1", 1), "http")),
            ('for="6.6.6.6, for=1.2.3.4"', (("127.0.0.1", 1), "http")),
        ],
    )
    def test_elements(self, value, expected):
        assert seen([("forwarded", value)], standard=True) == expected

    def test_the_others_are_not_believed(self):
        assert seen(xff("1.2.3.4"), standard=True)[0] == ("127.0.0.1", 1)

    @given(st.text(st.characters(max_codepoint=255)))
    def test_anything_at_all(self, value):
        seen([("forwarded", value)], standard=True)


class TestOptions:
    def test_by_default_the_own_machine_is_trusted(self):
        headers = ("X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https")
        with served(who) as server:
            assert server.get("/", *headers)[2].startswith(b"1.2.3.4|0 https ")
            assert server.get("/")[2].startswith(b"127.0.0.1|")

    def test_of_a_websocket(self):
        scopes = []

        async def app(scope, receive, send):
            scopes.append(scope)
            await receive()
            await send({"type": "websocket.close"})

        with served(app, lifespan="off") as server:
            for more in (b"", b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"):
                server.exchange(
                    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + more + b"\r\n"
                )
        plain, told = scopes
        assert (plain["type"], plain["scheme"], plain["client"][0]) == (
            "websocket",
            "ws",
            "127.0.0.1",
        )
        assert (told["type"], told["scheme"], told["client"]) == (
            "websocket",
            "wss",
            ("1.2.3.4", 0),
        )

    def test_others(self):
        with served(who, forwarded_allow_ips="10.0.0.0/8,::1") as server:
            assert server.get("/", "X-Forwarded-For: 1.2.3.4")[2].startswith(b"127.0.0.1|")

    def test_nobody(self):
        with served(who, proxy_headers=False) as server:
            assert server.get("/", "X-Forwarded-For: 1.2.3.4")[2].startswith(b"127.0.0.1|")

    def test_a_unix_socket(self, tmp_path):
        with served(who, uds=str(tmp_path / "s")) as server:
            assert server.get("/", "X-Forwarded-For: 1.2.3.4")[2].startswith(b"1.2.3.4|0 http ")

    def test_the_standard_header(self):
        with served(who, forwarded_header=True, forwarded_allow_ips=["127.0.0.0/8"]) as server:
            answer = server.get("/", 'Forwarded: for="[2001:db8::1]:5";proto=https')[2]
            assert answer.startswith(b"2001:db8::1|5 https ")

    @pytest.mark.parametrize("name", ["example.org", "1.2.3.4/33", "1.2.3.4/8", "Unix"])
    def test_what_is_no_address(self, name):
        with (
            pytest.raises(ServerError, match="forwarded_allow_ips"),
            served(who, forwarded_allow_ips=name),
        ):
            pass


def v2(family=0x11, addresses=None, command=0x21, more=b"", length=None):
    if addresses is None:
        hosts = {
            0x11: socket.inet_aton("1.2.3.4") + socket.inet_aton("5.6.7.8"),
            0x21: bytes(15) + b"\1" + bytes(15) + b"\2",
        }.get(family, b"")
        addresses = hosts and hosts + (567).to_bytes(2, "big") + (443).to_bytes(2, "big")
    rest = addresses + more
    size = len(rest) if length is None else length
    return SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + rest


GOOD = [
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 567 443\r\n", b"1.2.3.4|567 http 5.6.7.8|443"),
    (b"PROXY TCP6 2001:db8::1 ::2 567 443\r\n", b"2001:db8::1|567 http ::2|443"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", b"255.255.255.255|65535 "),
    (b"PROXY UNKNOWN\r\n", b"127.0.0.1|"),
    (b"PROXY UNKNOWN ffff:f::f whatever 1 2\r\n", b"127.0.0.1|"),
    (v2(), b"1.2.3.4|567 http 5.6.7.8|443"),
    (v2(0x21), b"::1|567 http ::2|443"),
    (v2(more=b"\x04\0\0\x01\0\x03abc"), b"1.2.3.4|567 "),
    (v2(0x00, b"anything"), b"127.0.0.1|"),
    (v2(0x00, command=0x20), b"127.0.0.1|"),
    (v2(command=0x20), b"127.0.0.1|"),
]
BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"PROXY\r\n",
    b"PROXX TCP4",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 567 443\n",
    b"PROXY  TCP4 1.2.3.4 5.6.7.8 567 443\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 567 443 \r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 0567 443\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 567 65536\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 443\r\n",
    b"PROXY TCP4 1.2.3 5.6.7.8 567 443\r\n",
    b"PROXY TCP4 1.2.3.256 5.6.7.8 567 443\r\n",
    b"PROXY TCP4 ::1 ::2 567 443\r\n",
    b"PROXY TCP6 1.2.3.4 5.6.7.8 567 443\r\n",
    b"PROXY TCP6 ::1%lo ::2 567 443\r\n",
    b"PROXY UDP4 1.2.3.4 5.6.7.8 567 443\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 567 443\0\r\n",
    b"proxy TCP4 1.2.3.4 5.6.7.8 567 443\r\n",
    b"PROXY UNKNOWN " + b"x" * 107,
    b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    b"\r\n\r\n\0\r\nQUIT\r",
    v2(command=0x22),
    v2(command=0x11),
    v2(0x12),
    v2(0x31),
    v2(0x11, b"too short"),
    v2(0x21, bytes(35)),
    v2(more=b"\x04\0"),
    v2(more=b"\x04\0\x05abc"),
    v2(length=4097) + bytes(5000),
    v2(length=65535),
]


class TestProxyProtocol:
    @pytest.mark.parametrize(("header", "expected"), GOOD)
    def test_tells_of_the_client(self, header, expected):
        with served(who, proxy_protocol=True) as server:
            answer = server.exchange(header + GET)
            assert answer.partition(b"\r\n\r\n")[2].startswith(expected)

    def test_byte_by_byte(self):
        with served(who, proxy_protocol=True) as server:
            for header, expected in (GOOD[1], GOOD[7]):
                with server.connect() as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for byte in header + GET:
                        sock.sendall(bytes([byte]))
                    assert expected in read_all(sock)

    @pytest.mark.parametrize("header", BAD)
    def test_what_is_malformed_is_closed(self, header):
        with served(who, proxy_protocol=True) as server:
            assert server.exchange(header + GET, half_closes=True) == b""

    def test_who_is_not_trusted_is_closed(self):
        with served(who, proxy_protocol=True, proxy_protocol_allow_ips="10.0.0.0/8") as server:
            assert server.exchange(GOOD[0][0] + GET) == b""

    def test_who_sends_nothing_is_closed_in_time(self):
        with served(who, proxy_protocol=True, timeout_head=0.1) as server:
            with server.connect() as silent, server.connect() as slow:
                slow.sendall(b"PROXY TCP4")
                assert read_all(silent) == read_all(slow) == b""

    def test_the_server_ends_while_a_header_is_awaited(self):
        with served(who, proxy_protocol=True) as server:
            sock = server.connect()
            sock.sendall(b"PROXY")
        assert read_all(sock) == b""
        sock.close()

    def test_a_slow_client_gets_all_of_its_answer_when_the_server_ends(self):
        content = bytes(20_000_000)

        async def large(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": content})

        with served(large, proxy_protocol=True) as server:
            sock = server.connect()
            sock.sendall(GOOD[0][0] + GET)
            received = sock.recv(1000)
            server.loop.call_soon_threadsafe(server.server.stop)
            received += read_all(sock)
            sock.close()
        assert received.partition(b"\r\n\r\n")[2] == content

    def test_without_it_the_header_is_no_request(self):
        with served(who) as server:
            assert server.exchange(GOOD[0][0] + GET).startswith(b"HTTP/1.1 400 ")

    @pytest.fixture
    def certified(self, tmp_path):
        """(a client's context, the options of a server that it trusts)."""
        authority = trustme.CA()
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            tmp_path / "pem"
        )
        client = ssl.create_default_context()
        authority.configure_trust(client)
        return client, {"ssl_certfile": str(tmp_path / "pem"), "proxy_protocol": True}

    def test_before_tls(self, certified):
        client, options = certified
        with served(who, **options) as server, server.connect() as sock:
            sock.sendall(GOOD[0][0])
            with client.wrap_socket(sock, server_hostname="localhost") as tls:
                tls.sendall(GET)
                assert b"1.2.3.4|567 https 5.6.7.8|443" in read_all(tls)

    def test_before_tls_that_is_none(self, certified):
        with served(who, **certified[1]) as server:
            assert not server.exchange(GOOD[0][0] + GET).startswith(b"HTTP/1.1 200")

    @given(st.binary(max_size=120))
    def test_any_line(self, line):
        try:
            ends = ends_of_v1(b"PROXY TCP4 " + line + b"\r\n")
        except Malformed:
            return
        assert ends is not None and all(0 <= port < 65536 for _, port in ends)

    @given(st.binary(min_size=4, max_size=4), st.binary(max_size=60))
    def test_any_header(self, head, rest):
        try:
            length_of_v2(SIGNATURE + head)
            ends_of_v2(SIGNATURE + head, rest)
        except Malformed:
            pass
