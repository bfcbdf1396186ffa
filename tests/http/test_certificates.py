"""Certificates that change under a server: new connections get the new ones, none is lost."""

import asyncio
import os
import signal
import ssl

import penstock
import pytest
import trustme

from .processes import Load, command, request, until


@pytest.fixture
def new_loop():
    return penstock.new_event_loop


@pytest.fixture
def authority():
    return trustme.CA()


class Files:
    """A certificate and its key, as a client of the authority and a server have them."""

    def __init__(self, directory, authority):
        self.certificate = directory / "certificate.pem"
        self.key = directory / "key.pem"
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        self.client.check_hostname = False
        self._authority = authority
        self.issue()

    def issue(self):
        """Others, each file replaced in one step. Returns the serial number as ssl tells it."""
        made = self._authority.issue_cert("localhost")
        replace(self.certificate, b"".join(blob.bytes() for blob in made.cert_chain_pems))
        replace(self.key, made.private_key_pem.bytes())

    @property
    def words(self):
        return ("--ssl-certfile", str(self.certificate), "--ssl-keyfile", str(self.key))

    async def served(self, port):
        """The number of the certificate that a new connection gets."""
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=self.client)
        number = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        await writer.wait_closed()
        return number

    async def other_than(self, before, port):
        while (number := await self.served(port)) == before:
            await asyncio.sleep(0.05)
        return number


def replace(path, content):
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


@pytest.fixture
def files(tmp_path, authority):
    return Files(tmp_path, authority)


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_new_files_are_noticed_and_nothing_is_lost(tmp_path, files, workers):
    async with command(tmp_path, "--workers", workers, *files.words) as served:
        port = await served.serves()
        async with Load(port, tls=files.client, clients=4, per_connection=5) as load:
            seen = {await files.served(port)}
            for number in range(2):
                files.issue()
                await served.logged("Certificates reloaded", max(int(workers), 1) * (number + 1))
                seen.add(await files.served(port))
                await load.goes_on(50)
            assert len(seen) == 3
        assert load.failures == []
        assert await served.stop() == -signal.SIGTERM


async def test_a_connection_keeps_the_one_that_it_has(tmp_path, files):
    async with command(tmp_path, *files.words) as served:
        port = await served.serves()
        before = await files.served(port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=files.client)
        files.issue()
        await served.logged("Certificates reloaded")
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await writer.wait_closed()
        assert await files.served(port) != before
        assert await served.stop() == -signal.SIGTERM


async def test_a_signal_reloads_at_once(tmp_path, files):
    async with command(tmp_path, *files.words) as served:
        port = await served.serves()
        before = await files.served(port)
        files.issue()
        served.send(signal.SIGHUP)
        await files.other_than(before, port)
        assert await served.stop() == -signal.SIGTERM


async def test_an_unreadable_key_changes_nothing(tmp_path, files):
    async with command(tmp_path, *files.words) as served:
        port = await served.serves()
        before = await files.served(port)
        replace(files.key, b"no key")
        await served.logged("The certificates that were in use stay: TLS can't be set up from")
        assert await files.served(port) == before
        files.issue()
        await files.other_than(before, port)
        assert await request(port, tls=files.client)
        assert served.log.count("The certificates that were in use stay") == 1
        assert await served.stop() == -signal.SIGTERM


async def test_workers_that_are_replaced_lose_no_handshake(tmp_path, files):
    words = ("--workers", "2", "--limit-worker-lifetime", "1")
    async with command(tmp_path, *words, *files.words) as served:
        async with Load(await served.serves(), tls=files.client, per_connection=3) as load:
            await served.logged(r"has reached its limit \(lifetime\)", 3)
            await load.goes_on(50)
        assert load.failures == []
        await until(lambda: len(served.workers) >= 2)
        assert await served.stop() == -signal.SIGTERM
