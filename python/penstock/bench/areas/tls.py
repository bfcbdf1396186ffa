"""TLS: an echo server, and handshakes, with a certificate that the `openssl` command makes."""

import asyncio
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

from .. import client, serving
from ..process import Failed, measured, started
from ..rounds import WAITS, Figure, Rounds, Table
from ..serving import Case

HANDSHAKE = {
    "rate": Figure("throughput", "handshakes/s", more_is_better=True),
    "cpu": Figure("server's CPU a handshake", "µs"),
    **WAITS,
}


def certificate(folder: str) -> str:
    """A file with a key of P-256 and its own certificate for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Failed("area tls needs the command openssl, for a certificate")
    path = str(Path(folder) / "certificate.pem")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", "-"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"openssl has made no certificate:\n{done.stderr}")
    with open(path, "a") as file:
        file.write(done.stdout)
    return path


def server(peer: str, api: str, certificate: str) -> None:
    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        loop = asyncio.get_running_loop()
        listening = loop.create_server(serving.Echo, "127.0.0.1", 0, ssl=context)
        await serving.forever(await listening)

    serving.serve(peer, main)


def measure(rounds: Rounds) -> list[Table]:
    echo, handshake = Table("Echo over TLS", serving.FIGURES), Table("TLS handshakes", HANDSHAKE)
    with tempfile.TemporaryDirectory() as folder:
        path = certificate(folder)
        cases = [Case("", size) for size in serving.SIZES]
        serving.measure(rounds, echo, server, cases, certificate=path)

        def add(case: str, peer: str) -> None:
            with started(server, peer=peer, api="", certificate=path) as process:
                port = serving.port_of(process)
                found = measured(
                    client.handshakes,
                    port=port,
                    pid=process.pid,
                    count=20 if rounds.quick else 1000,
                    certificate=path,
                )
            handshake.add(case, peer, found)

        rounds.in_turns([handshake], ["TLS 1.3"], add)
    return [echo, handshake]
