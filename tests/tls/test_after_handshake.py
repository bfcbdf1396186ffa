"""What TLS 1.3 does on a connection that is in use: new keys, and a client's certificate."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess

import pytest


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


class OpenSSL:
    """An end of a connection by the command `openssl`, which tells of each message."""

    def __init__(self, process):
        self.process = process
        self.told = b""

    async def hears(self, *words):
        """Waits until it has told these, in that order, and forgets all up to them."""
        for word in words:
            while word not in self.told:
                more = await self.process.stdout.read(65536)
                assert more, self.told
                self.told += more
            self.told = self.told.partition(word)[2]

    async def enter(self, line):
        self.process.stdin.write(line + b"\n")
        await self.process.stdin.drain()


@contextlib.asynccontextmanager
async def openssl(*words):
    if not shutil.which("openssl"):
        pytest.skip("needs the command openssl")
    process = await asyncio.create_subprocess_exec(
        "openssl",
        *words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        limit=1 << 20,
    )
    try:
        async with asyncio.timeout(30):
            yield OpenSSL(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_a_client_that_changes_its_keys(server_context):
    """`k` is a KeyUpdate of its own keys, `K` asks for one of ours as well."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        openssl("s_client", "-tls1_3", "-msg", "-connect", f"localhost:{port}") as end,
    ):
        await end.hears(b"Verify return code")
        for round_ in range(3):
            await end.enter(b"k")
            await end.hears(b">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
            await end.enter(b"first %d" % round_)
            await end.hears(b"\nfirst %d\n" % round_)
            await end.enter(b"K")
            await end.hears(b">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
            await end.enter(b"second %d" % round_)
            await end.hears(b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
            await end.hears(b"\nsecond %d\n" % round_)
        end.process.kill()


async def test_a_server_that_changes_its_keys(certificate, client_context, tmp_path):
    pem = tmp_path / "server.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(pem))
    words = ["s_server", "-tls1_3", "-msg", "-naccept", "1", "-accept", "127.0.0.1:0"]
    async with openssl(*words, "-cert", str(pem)) as end:
        await end.hears(b"ACCEPT 127.0.0.1:")
        while b"\n" not in end.told:
            end.told += await end.process.stdout.read(65536)
        port = int(end.told.partition(b"\n")[0])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context, server_hostname="localhost"
        )
        for round_ in range(3):
            writer.write(b"question %d\n" % round_)
            await end.hears(b"question %d\n" % round_)
            await end.enter(b"K")
            await end.hears(b">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
            await end.enter(b"answer %d" % round_)
            assert await reader.readline() == b"answer %d\n" % round_
            writer.write(b"thanks %d\n" % round_)
            await end.hears(b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
            await end.hears(b"thanks %d\n" % round_)
        writer.close()
        await writer.wait_closed()


async def test_a_certificate_that_is_asked_for_later(authority, server_context, client_context):
    """SSLObject.verify_client_post_handshake(): what it makes leaves with the next write."""
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_OPTIONAL
    server_context.post_handshake_auth = client_context.post_handshake_auth = True
    authority.issue_cert("somebody@example.org").configure_cert(client_context)
    seen = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        tls = writer.get_extra_info("ssl_object")
        assert await reader.readline() == b"public\n"
        before = tls.getpeercert()
        tls.verify_client_post_handshake()
        writer.write(b"who are you\n")
        assert await reader.readline() == b"me\n"
        seen.set_result((before, tls.getpeercert()["subjectAltName"]))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context)
    async with server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context, server_hostname="localhost"
        )
        writer.write(b"public\n")
        assert await reader.readline() == b"who are you\n"
        writer.write(b"me\n")
        before, after = await seen
        assert not before
        assert after == (("email", "somebody@example.org"),)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
