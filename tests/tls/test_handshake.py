"""What a handshake settles, and how it fails."""

import asyncio
import contextlib
import itertools
import logging
import shutil
import socket
import ssl
import struct
import sys
import time

import pytest


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def round_trip(server_context, client_context, serve=echo, **options):
    """One connection over a real server; its writer, after an echo."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        options.setdefault("server_hostname", "localhost")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, **options
        )
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        info = {name: writer.get_extra_info(name) for name in ("ssl_object", "peercert")}
        writer.close()
        await writer.wait_closed()
    return info


async def test_extra_info(connect, recorder, client_context, pair):
    protocol, _peer = await connect(recorder)
    transport = protocol.transport
    info = transport.get_extra_info
    assert info("sslcontext") is client_context
    assert info("ssl_object").context is client_context
    assert info("peercert")["subjectAltName"]
    assert info("cipher") == info("ssl_object").cipher()
    assert info("compression") is None
    assert info("socket").fileno() == pair[0].fileno()
    assert info("peername") == pair[1].getsockname()
    assert info("sockname") == pair[1].getpeername()
    assert info("nothing") is None
    assert info("nothing", 7) == 7
    assert info("nothing", default=7) == 7
    assert transport.get_protocol() is protocol
    transport.abort()
    await protocol.lost
    assert transport.get_protocol() is None
    assert info("cipher")


async def test_connection_made_comes_after_the_handshake(
    pair, client_context, recorder, peer, server_context
):
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(
        loop.create_connection(
            recorder, sock=pair[0], ssl=client_context, server_hostname="localhost"
        )
    )
    far = peer(pair[1], server_context, server_side=True)
    assert await far.receive()
    assert not connecting.done()
    await far.handshake()
    transport, protocol = await connecting
    assert protocol.calls == ["connection_made"]
    transport.abort()
    await protocol.lost


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(server_context, client_context, version):
    client_context.minimum_version = client_context.maximum_version = version
    info = await round_trip(server_context, client_context)
    assert info["ssl_object"].version() == version.name.replace("_", ".")


async def test_alpn(server_context, client_context):
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    client_context.set_alpn_protocols(["http/1.1"])
    info = await round_trip(server_context, client_context)
    assert info["ssl_object"].selected_alpn_protocol() == "http/1.1"


async def test_client_certificate(server_context, client_context, authority):
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    authority.issue_cert("someone@example.org").configure_cert(client_context)
    seen = []

    async def handler(reader, writer):
        seen.append(writer.get_extra_info("peercert"))
        await echo(reader, writer)

    async with await asyncio.start_server(handler, "127.0.0.1", 0, ssl=server_context) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
        )
        writer.write(b"x")
        await reader.readexactly(1)
        writer.close()
        await writer.wait_closed()
    assert ("email", "someone@example.org") in seen[0]["subjectAltName"]


async def test_missing_client_certificate(server_context, client_context, authority, recorder):
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    loop = asyncio.get_running_loop()
    made = []
    server = await loop.create_server(
        lambda: made.append(recorder()) or made[-1], "127.0.0.1", 0, ssl=server_context
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((OSError, EOFError)):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
            )
            try:
                await reader.readexactly(1)
            finally:
                writer.transport.abort()
    assert made[0].calls == []


@pytest.mark.penstock_only("asyncio drops the alert that says why")
async def test_the_peer_is_told_why(
    pair, server_context, client_context, authority, recorder, peer
):
    server_context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_context)
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(
        loop.connect_accepted_socket(recorder, pair[0], ssl=server_context)
    )
    far = peer(pair[1], client_context, server_hostname="localhost")
    await far.handshake()
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        await connecting
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        await far.read()


async def test_unknown_authority(server_context):
    with pytest.raises(ssl.SSLCertVerificationError, match="CERTIFICATE_VERIFY_FAILED") as raised:
        await round_trip(server_context, ssl.create_default_context())
    assert raised.value.verify_code


async def test_wrong_hostname(server_context, client_context):
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        await round_trip(server_context, client_context, server_hostname="example.org")


async def test_default_context_without_a_hostname(server_context):
    with pytest.raises(ssl.SSLCertVerificationError):
        await round_trip(server_context, True, server_hostname="")


async def test_a_default_context_of_the_programs(server_context, client_context, monkeypatch):
    monkeypatch.setattr(ssl, "create_default_context", lambda: client_context)
    assert await round_trip(server_context, True)


class Resuming(ssl.SSLContext):
    """A client's, which offers `session` where it has one."""

    session = None

    def wrap_bio(self, *args, **options):
        return super().wrap_bio(*args, **options | {"session": self.session})


class ReuseNoting:
    """Serves echo(), and notes whether the server says that it goes on with an old session."""

    def __init__(self):
        self.reused = []

    async def __call__(self, reader, writer):
        self.reused.append(writer.get_extra_info("ssl_object").session_reused)
        await echo(reader, writer)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_session_reuse(server_context, certificate, authority, version):
    context = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    serve = ReuseNoting()
    first = await round_trip(server_context, context, serve=serve)
    assert not first["ssl_object"].session_reused
    # That of TLS 1.3 comes after the handshake, and is there since data has.
    context.session = first["ssl_object"].session
    assert context.session.has_ticket
    second = await round_trip(server_context, context, serve=serve)
    assert second["ssl_object"].session_reused
    assert second["ssl_object"].version() == version.name.replace("_", ".")
    assert second["peercert"] == first["peercert"] != {}
    assert serve.reused == [False, True]
    assert server_context.session_stats()["hits"] == 1
    # To a server that doesn't know the session it is a connection as any.
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(stranger)
    third = await round_trip(stranger, context, serve=serve)
    assert not third["ssl_object"].session_reused
    assert serve.reused == [False, True, False]


async def test_sni_callback_switches_contexts(server_context, client_context, authority):
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(other)
    other.set_alpn_protocols(["other"])
    names = []

    def choose(sslobject, name, context):
        names.append(name)
        assert context is server_context
        sslobject.context = other

    server_context.sni_callback = choose
    server_context.set_alpn_protocols(["ours"])
    client_context.set_alpn_protocols(["ours", "other"])
    info = await round_trip(server_context, client_context, server_hostname="other.example")
    assert names == ["other.example"]
    assert info["ssl_object"].selected_alpn_protocol() == "other"
    assert ("DNS", "other.example") in info["peercert"]["subjectAltName"]


async def test_sni_callback_that_refuses(server_context, client_context):
    server_context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    with pytest.raises(OSError):
        await round_trip(server_context, client_context)


async def test_sni_callback_that_raises(server_context, client_context, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def fail(*_):
        raise LookupError("in the callback")

    server_context.sni_callback = fail
    with pytest.raises(OSError):
        await round_trip(server_context, client_context)
    assert [type(report.exc_value) for report in unraisable] == [LookupError]


async def test_keylog_file(server_context, client_context, tmp_path):
    client_context.keylog_filename = tmp_path / "client"
    server_context.keylog_filename = tmp_path / "server"
    await round_trip(server_context, client_context)
    client_context.keylog_filename = server_context.keylog_filename = None  # closes the files
    lines = (tmp_path / "client").read_text().splitlines()
    assert any(line.startswith("CLIENT_TRAFFIC_SECRET_0") for line in lines)
    assert set(lines) == set((tmp_path / "server").read_text().splitlines())


async def test_message_callback(server_context, client_context):
    seen = []
    client_context._msg_callback = lambda *args: seen.append(args)
    await round_trip(server_context, client_context)
    assert {direction for _, direction, *_ in seen} == {"read", "write"}
    assert all(isinstance(connection, ssl.SSLObject) for connection, *_ in seen)


async def test_message_callback_that_raises_on_data(connect, recorder, client_context):
    failing = []

    def callback(*_):
        if failing:
            raise LookupError("in the callback")

    client_context._msg_callback = callback
    loop = asyncio.get_running_loop()
    seen = []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    protocol, peer = await connect(recorder)
    failing.append(True)
    await peer.send(b"data")
    assert isinstance(await protocol.lost, LookupError)
    assert [context["message"] for context in seen] == ["Fatal error on SSL protocol"]


@pytest.mark.penstock_only("create_connection() hangs in asyncio until its timeout")
async def test_message_callback_that_raises_in_the_handshake(
    pair, recorder, client_context, server_context, peer, reports
):
    def callback(*_):
        raise LookupError("in the callback")

    client_context._msg_callback = callback
    seen = reports()
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(
        loop.create_connection(
            recorder, sock=pair[0], ssl=client_context, server_hostname="localhost"
        )
    )
    with contextlib.suppress(EOFError, ConnectionResetError):
        await peer(pair[1], server_context, server_side=True).handshake()
    with pytest.raises(LookupError):
        await connecting
    assert [context["message"] for context in seen] == ["SSL handshake failed"]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PSK came with Python 3.13")
@pytest.mark.parametrize(
    ("version", "hint"),
    [
        (ssl.TLSVersion.TLSv1_2, "which key"),
        (ssl.TLSVersion.TLSv1_2, None),
        (ssl.TLSVersion.TLSv1_3, None),  # which has no hints
    ],
)
async def test_psk(version, hint):
    server, client = psk_contexts(version)
    names, hints = [], []
    key = bytes(range(32))

    def name_key(hint):
        hints.append(hint)
        return "someone", key

    def find_key(name):
        names.append(name)
        return key

    client.set_psk_client_callback(name_key)
    server.set_psk_server_callback(find_key, hint)
    info = await round_trip(server, client, server_hostname="")
    # TLS 1.3 may ask again, after it was told of another hash.
    assert set(names) == {"someone"} and set(hints) == {hint}
    assert info["peercert"] is None
    assert info["ssl_object"].version() == version.name.replace("_", ".")
    if version is ssl.TLSVersion.TLSv1_2:
        assert "PSK" in info["ssl_object"].cipher()[0]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PSK came with Python 3.13")
async def test_psk_of_somebody_else():
    server, client = psk_contexts(ssl.TLSVersion.TLSv1_2)
    client.set_psk_client_callback(lambda hint: ("someone", b"one key"))
    server.set_psk_server_callback(lambda name: b"another key", "hint")
    with pytest.raises(OSError):  # asyncio drops the alert that says why
        await round_trip(server, client, server_hostname="")


def psk_contexts(version):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
        if version is ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("PSK")
    return server, client


# ---- slow, broken and interrupted handshakes ---------------------------------------------------


async def speak_slowly(connecting, far):
    """Have all that `far` says, the handshake too, leave byte by byte."""
    far.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def flush_slowly():
        for byte in far.outgoing.read():
            await far.loop.sock_sendall(far.sock, bytes([byte]))
            await asyncio.sleep(0)

    far.flush = flush_slowly
    await far.handshake()
    transport, protocol = await connecting
    await far.send(b"slowly")
    assert await protocol.received(6) == b"slowly"
    transport.abort()
    await protocol.lost


async def test_handshake_byte_by_byte(pair, server_context, client_context, recorder, peer):
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(
        loop.connect_accepted_socket(recorder, pair[0], ssl=server_context)
    )
    await speak_slowly(connecting, peer(pair[1], client_context, server_hostname="localhost"))


def connect_to(recorder, sock, context, **options):
    loop = asyncio.get_running_loop()
    return loop.create_task(
        loop.create_connection(
            recorder, sock=sock, ssl=context, server_hostname="localhost", **options
        )
    )


async def test_a_server_that_answers_byte_by_byte(
    pair, server_context, client_context, recorder, peer
):
    connecting = connect_to(recorder, pair[0], client_context)
    await speak_slowly(connecting, peer(pair[1], server_context, server_side=True))


async def test_slow_servers_hold_up_nobody_else(server_context, client_context, recorder):
    """They take connections, the system does, and then say nothing."""
    slow = []
    with socket.create_server(("127.0.0.1", 0), backlog=20) as silent:
        for _ in range(20):
            sock = socket.create_connection(silent.getsockname())
            sock.setblocking(False)
            slow.append(connect_to(recorder, sock, client_context, ssl_handshake_timeout=60))
        async with asyncio.timeout(20):
            for _ in range(5):
                await round_trip(server_context, client_context)
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
    assert all(task.cancelled() for task in slow)


@pytest.mark.penstock_only("asyncio takes all that have come before it looks at anything else")
async def test_many_at_once_leave_others_their_turns(
    server_context, client_context, recorder, pair
):
    """Each of thirty handshakes takes three milliseconds, a slice of the loop's time eight."""
    loop = asyncio.get_running_loop()
    order = []

    def take_time(*_):
        order.append("handshake")
        end = time.perf_counter() + 0.003
        while time.perf_counter() < end:
            pass

    def again(_, data):
        order.append("other")
        pair[1].send(data)

    server_context.sni_callback = take_time
    other, _ = await loop.create_connection(lambda: recorder(data_received=again), sock=pair[0])
    with contextlib.ExitStack() as stack:
        accepting = []
        for _ in range(30):
            near, far = socket.socketpair()
            stack.enter_context(far)
            hello = ssl.MemoryBIO()
            tls = client_context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            far.send(hello.read())
            accept = loop.connect_accepted_socket(recorder, near, ssl=server_context)
            accepting.append(asyncio.create_task(accept))
        pair[1].send(b"x")
        async with asyncio.timeout(20):
            while order.count("handshake") < len(accepting):
                await asyncio.sleep(0)
        for task in accepting:
            task.cancel()
        await asyncio.wait(accepting)
    other.abort()
    runs = [len(list(run)) for each, run in itertools.groupby(order) if each == "handshake"]
    assert max(runs) < 10, runs


async def test_the_timeout_of_a_handshake_is_its_whole_time(
    pair, server_context, client_context, recorder, peer, reports
):
    """A server that goes on saying a byte now and then gains no time by it."""
    loop = asyncio.get_running_loop()
    seen = reports()
    started = loop.time()
    connecting = connect_to(recorder, pair[0], client_context, ssl_handshake_timeout=0.3)
    far = peer(pair[1], server_context, server_side=True)
    await far.receive()
    with pytest.raises(ssl.SSLWantReadError):
        far.tls.do_handshake()
    answer = far.outgoing.read()
    said = 0
    while not connecting.done() and said < len(answer) - 1:
        with contextlib.suppress(ConnectionError):
            pair[1].send(answer[said : said + 1])
        said += 1
        await asyncio.sleep(0.02)
    assert said > 3 and loop.time() - started >= 0.3
    with pytest.raises(ConnectionAbortedError, match="is taking longer than 0.3 seconds"):
        await connecting
    assert seen == []


@pytest.mark.parametrize("side", ["client", "server"])
async def test_handshake_timeout(pair, server_context, client_context, recorder, reports, side):
    loop = asyncio.get_running_loop()
    seen = reports()
    if side == "client":
        connecting = loop.create_connection(
            recorder,
            sock=pair[0],
            ssl=client_context,
            server_hostname="localhost",
            ssl_handshake_timeout=0.05,
        )
    else:
        connecting = loop.connect_accepted_socket(
            recorder, pair[0], ssl=server_context, ssl_handshake_timeout=0.05
        )
    with pytest.raises(ConnectionAbortedError) as raised:
        await connecting
    assert str(raised.value) == (
        "SSL handshake is taking longer than 0.05 seconds: aborting the connection"
    )
    assert seen == []


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
async def test_timeouts_must_be_positive(pair, client_context, recorder, name):
    with pytest.raises(ValueError, match=f"{name} should be a positive number, got 0"):
        await asyncio.get_running_loop().create_connection(
            recorder, sock=pair[0], ssl=client_context, server_hostname="", **{name: 0}
        )


async def test_a_server_needs_a_context(pair, recorder):
    with pytest.raises(ValueError, match="Server side SSL needs a valid SSLContext"):
        await asyncio.get_running_loop().connect_accepted_socket(recorder, pair[0], ssl=True)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x16\x03\x01\x00\x05hello"]
)
async def test_garbage_at_the_server(pair, server_context, recorder, reports, garbage):
    seen = reports()
    pair[1].sendall(garbage)
    with pytest.raises(ssl.SSLError):
        await asyncio.get_running_loop().connect_accepted_socket(
            recorder, pair[0], ssl=server_context
        )
    assert seen == []


async def test_eof_in_the_handshake(pair, client_context, recorder):
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        await asyncio.get_running_loop().create_connection(
            recorder, sock=pair[0], ssl=client_context, server_hostname="localhost"
        )


async def test_reset_in_the_handshake(pair, client_context, recorder):
    loop = asyncio.get_running_loop()
    connecting = loop.create_task(
        loop.create_connection(
            recorder, sock=pair[0], ssl=client_context, server_hostname="localhost"
        )
    )
    await loop.sock_recv(pair[1], 1)
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair[1].close()
    with pytest.raises(ConnectionResetError):
        await connecting


async def test_cancelled_in_the_handshake(pair, client_context, recorder):
    loop = asyncio.get_running_loop()
    made = []
    connecting = loop.create_task(
        loop.create_connection(
            lambda: made.append(recorder()) or made[-1],
            sock=pair[0],
            ssl=client_context,
            server_hostname="localhost",
        )
    )
    assert await loop.sock_recv(pair[1], 65536)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert await loop.sock_recv(pair[1], 65536) == b""
    assert made[0].calls == []


@pytest.mark.penstock_only("asyncio goes on with the handshake of a closed transport")
async def test_cancelled_at_each_await(server_context, client_context, recorder):
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context) as server:
        port = server.sockets[0].getsockname()[1]
        for steps in range(40):
            made = []
            connecting = loop.create_task(
                loop.create_connection(
                    lambda made=made: made.append(recorder()) or made[-1],
                    "127.0.0.1",
                    port,
                    ssl=client_context,
                    server_hostname="localhost",
                )
            )
            for _ in range(steps):
                await asyncio.sleep(0)
            connecting.cancel()
            try:
                transport, protocol = await connecting
            except asyncio.CancelledError:
                continue
            transport.abort()
            await protocol.lost


async def test_a_failed_handshake_is_told_in_debug_mode_only(server_context, recorder, reports):
    loop = asyncio.get_running_loop()
    for debug in (False, True):
        loop.set_debug(debug)
        logging.getLogger("asyncio").setLevel(logging.WARNING)
        seen = reports()
        async with await loop.create_server(recorder, "127.0.0.1", 0, ssl=server_context) as server:
            with socket.create_connection(server.sockets[0].getsockname()) as sock:
                sock.sendall(b"no TLS at all")
                sock.setblocking(False)
                try:
                    while await loop.sock_recv(sock, 4096):
                        pass
                except ConnectionResetError:
                    pass
            await server_is_over(server)
        messages = [context["message"] for context in seen]
        expected = ["Error on transport creation for incoming connection"] if debug else []
        assert messages == expected
    loop.set_debug(False)


async def server_is_over(server):
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("what", ["close", "abort"])
async def test_closed_in_connection_made(serve, recorder, what):
    protocol, peer = await serve(
        lambda: recorder(connection_made=lambda protocol: getattr(protocol.transport, what)())
    )
    if what == "close":
        assert await peer.read() == b""
        await peer.send_close_notify()
    assert await protocol.lost is None


needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl command")


async def openssl(*arguments):
    pipe, same = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    return await asyncio.create_subprocess_exec(
        "openssl", *arguments, "-tls1_2", stdin=pipe, stdout=pipe, stderr=same
    )


@needs_openssl
async def test_renegotiation_is_refused(recorder, server_context):
    """OpenSSL's own client asks for it at "R", and says what it was answered."""
    loop = asyncio.get_running_loop()
    protocol = recorder()
    async with await loop.create_server(
        lambda: protocol, "127.0.0.1", 0, ssl=server_context
    ) as server:
        port = server.sockets[0].getsockname()[1]
        client = await openssl("s_client", "-connect", f"127.0.0.1:{port}")
        await protocol.made
        output, _ = await client.communicate(b"R\n")
        assert b"RENEGOTIATING" in output and b"no renegotiation" in output
        await protocol.lost
    assert protocol.data == b""


@needs_openssl
async def test_a_client_follows_a_server_that_renegotiates(
    recorder, certificate, client_context, tmp_path
):
    """OpenSSL's own server asks for it at "r"."""
    chain = tmp_path / "chain"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(chain))
    server = await openssl("s_server", "-accept", "127.0.0.1:0", "-cert", chain, "-key", chain)
    output = b""
    async with asyncio.timeout(20):
        while b"ACCEPT 127" not in output:
            output = await server.stdout.readline()
        port = int(output.rpartition(b":")[2])
        transport, protocol = await asyncio.get_running_loop().create_connection(
            recorder, "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
        )
        server.stdin.write(b"r\n")
        await asyncio.sleep(0.2)
        server.stdin.write(b"after it\n")
        assert await protocol.received(9) == b"after it\n"
        transport.close()
        await protocol.lost
    server.kill()
    output, _ = await server.communicate()
    assert b"SSL_do_handshake -> " in output


async def test_the_loop_ends_in_the_middle_of_a_handshake(recorder, server_context, reports):
    """The runner closes the loop behind this; `_no_fd_is_left` looks for what it leaves."""
    loop = asyncio.get_running_loop()
    seen = reports()
    server = await loop.create_server(recorder, "127.0.0.1", 0, ssl=server_context)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.sendall(b"\x16\x03\x01\x02\x00")  # the head of a record
        for _ in range(5):
            await asyncio.sleep(0)
    server.close()
    assert seen == []


@pytest.mark.parametrize("extra", [None, 5, [], {}])
async def test_the_slot_for_extra_info_may_hold_anything(connect, recorder, extra):
    protocol, _ = await connect(recorder)
    cipher = protocol.transport.get_extra_info("cipher")
    protocol.transport._extra = extra
    assert protocol.transport.get_extra_info("cipher") == cipher is not None
    assert protocol.transport.get_extra_info("nothing", 1) == 1
    protocol.transport.abort()
    await protocol.lost
