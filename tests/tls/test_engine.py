"""Which way to OpenSSL is taken, and that both are the same towards programs."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from penstock import _core

pytestmark = pytest.mark.penstock_only("asyncio has one way")


def test_the_direct_way_is_open(monkeypatch):
    monkeypatch.delenv("PENSTOCK_TLS", raising=False)
    assert _core.tls_path() == (True, None)


def test_the_other_way_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("PENSTOCK_TLS", "memorybio")
    assert _core.tls_path() == (False, "PENSTOCK_TLS=memorybio is set")


def run(program, *args, **environment):
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program), *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def files(authority, certificate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority.cert_pem.write_to_path(str(folder / "authority"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server"))
    return str(folder / "authority"), str(folder / "server")


ROUND_TRIP = """
    import asyncio, ssl, sys
    import penstock
    from penstock import _core

    async def echo(reader, writer):
        writer.write(await reader.readexactly(4))
        writer.close()

    async def main(authority, chain):
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(chain)
        client_context = ssl.create_default_context(cafile=authority)
        async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context) as server:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
            )
            writer.write(b"ping")
            print(await reader.read(), _core.tls_path())
            writer.close()
            await writer.wait_closed()

    def round_trip():
        with asyncio.Runner(loop_factory=penstock.new_event_loop) as runner:
            runner.run(main(*sys.argv[1:3]))
"""


def second_openssl():
    """The paths of the libcrypto and libssl that psycopg2-binary brings along."""
    psycopg2 = pytest.importorskip("psycopg2")
    folder = Path(psycopg2.__file__).parent.parent / "psycopg2_binary.libs"
    return [str(next(folder.glob(f"{name}-*"))) for name in ("libcrypto", "libssl")]


@pytest.mark.parametrize(
    ("engine", "told"),
    [("", (True, None)), ("memorybio", (False, "PENSTOCK_TLS=memorybio is set"))],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_second_libssl_in_the_process(files, first, engine, told):
    load = f"""
    import ctypes
    for path in {second_openssl()!r}:
        ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    """
    program = (load + ROUND_TRIP if first else ROUND_TRIP + load) + "\n    round_trip()\n"
    assert run(program, *files, PENSTOCK_TLS=engine) == f"b'ping' {told}\n"


@pytest.mark.skipif(not shutil.which("readelf"), reason="no readelf")
def test_the_module_is_linked_to_no_openssl():
    found = subprocess.run(["readelf", "-d", _core.__file__], capture_output=True, text=True)
    assert "libc.so" in found.stdout
    assert "ssl" not in found.stdout and "crypto" not in found.stdout


def test_ssl_keylog_file(files, tmp_path):
    log = tmp_path / "keys"
    run(ROUND_TRIP + "\n    round_trip()\n", *files, PENSTOCK_TLS="", SSLKEYLOGFILE=str(log))
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()


def test_a_subclass_of_sslobject_is_asked_itself(files):
    program = """
    class Foreign(ssl.SSLObject):
        def read(self, *args):
            print("read()")
            return super().read(*args)

    ssl.SSLContext.sslobject_class = Foreign
    """
    printed = run(ROUND_TRIP + program + "\n    round_trip()\n", *files, PENSTOCK_TLS="")
    assert "read()\n" in printed
    assert printed.endswith("b'ping' (False, 'the SSLObject is of a subclass')\n")


def test_where_the_layout_is_unknown_memory_bios_serve(files):
    """An SSL* that does not lead back to its object: as if the pointer had been read elsewhere."""
    program = """
    import _ssl, ctypes

    openssl = ctypes.CDLL(_ssl.__file__)  # which looks in what that is linked to
    openssl.SSL_set_ex_data.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    wrap_bio = ssl.SSLContext.wrap_bio

    def without_way_back(*args, **kwargs):
        made = wrap_bio(*args, **kwargs)
        pointer = ctypes.c_void_p.from_address(id(made._sslobj) + object.__basicsize__ + 8)
        assert openssl.SSL_set_ex_data(pointer, 0, None) == 1
        return made

    ssl.SSLContext.wrap_bio = without_way_back
    """
    printed = run(ROUND_TRIP + program + "\n    round_trip()\n", *files, PENSTOCK_TLS="")
    assert printed == "b'ping' (False, \"the layout of the ssl module's objects is unknown\")\n"


def test_without_an_ssl_module(files):
    program = """
    import sys

    sys.modules["ssl"] = sys.modules["_ssl"] = None
    import asyncio
    import penstock

    async def main():
        try:
            await asyncio.get_running_loop().start_tls(None, None, None)
        except RuntimeError as exc:
            print(exc)

    with asyncio.Runner(loop_factory=penstock.new_event_loop) as runner:
        runner.run(main())
    """
    assert run(program) == "Python ssl module is not available\n"


def test_the_loop_can_go_before_the_connection(files):
    """Whatever is left of a connection when its loop is gone can be used, and does nothing."""
    program = """
    class Keep(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            pass

    async def main(authority, chain):
        server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_context.load_cert_chain(chain)
        client_context = ssl.create_default_context(cafile=authority)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Keep, "127.0.0.1", 0, ssl=server_context)
        transport, _ = await loop.create_connection(
            Keep, *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
        )
        return transport

    import warnings
    warnings.simplefilter("ignore")
    with asyncio.Runner(loop_factory=penstock.new_event_loop) as runner:
        transport = runner.run(main(*sys.argv[1:3]))
    del runner
    for call in (
        lambda: transport.write(bytes(10)),
        lambda: transport.write(bytes(10_000_000)),
        lambda: transport.pause_reading(),
        lambda: transport.resume_reading(),
        lambda: transport.get_extra_info("ssl_object").write(b"x"),
        lambda: transport.get_extra_info("ssl_object").unwrap(),
        lambda: transport.close(),
        lambda: transport.abort(),
    ):
        try:
            call()
        except (RuntimeError, OSError, ssl.SSLError) as exc:
            pass
    print(repr(transport)[:13])
    del transport
    import gc
    gc.collect()
    print("over")
    """
    assert run(ROUND_TRIP + program, *files, PENSTOCK_TLS="").endswith("over\n")


@pytest.mark.parametrize("what", ["write", "close", "abort"])
async def test_openssl_calls_back_into_the_transport(serve, recorder, server_context, what):
    """While OpenSSL works, what is written waits, and so does what is closed."""
    calls = []

    def callback(*_):
        if protocols and protocols[0].transport is not None and len(calls) < 3:
            calls.append(what)
            if what == "write":
                protocols[0].transport.write(b"called")
            else:
                getattr(protocols[0].transport, what)()

    protocols = []
    server_context._msg_callback = callback
    protocol, peer = await serve(recorder)
    protocols.append(protocol)
    await peer.send(b"data")
    if what == "write":
        assert await peer.read_exactly(18) == b"called" * 3
        protocol.transport.abort()
    elif what == "close":
        await peer.drive(peer.tls.unwrap)
    await protocol.lost
    assert calls
