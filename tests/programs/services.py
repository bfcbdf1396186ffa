"""The databases and brokers that programs talk to: those that run already, or ones of our own.

A service is looked for where its environment variable says, then at its usual port on loopback. If
there is none but its binary is installed, one is started on a free port, with its data in a
temporary folder, and ends with the tests. Otherwise the test is skipped, and says so.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .local import examples

SECONDS_TO_START = 60.0


def on_port(folder: Path, port: int) -> bool:
    listens: bool = examples.listens("127.0.0.1", port)
    return listens


@dataclass(frozen=True)
class Service:
    name: str
    variable: str
    url: str
    port: int
    binary: str
    # The server's; {binary}, {bin}, {folder}, {port}, {port2} are filled in.
    command: str
    prepare: str = ""
    environment: str = ""
    # Whom it wants to be instead of root.
    user: str = ""
    ready: Callable[[Path, int], bool] = on_port

    def installed(self) -> Path | None:
        """Its binary, which distributions like to hide."""
        found = shutil.which(self.binary, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        hidden = (Path("/usr/lib/rabbitmq/bin"), *Path("/usr/lib/postgresql").glob("*/bin"))
        for path in (folder / self.binary for folder in hidden):
            if path.exists():
                return path
        return Path(found) if found else None

    @contextlib.contextmanager
    def started(self, binary: Path, folder: Path) -> Iterator[str]:
        """Runs it; gives its URL."""
        port: int = examples.free_port()
        user = self.user if os.getuid() == 0 and self.user else None
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        values = {
            "binary": binary,
            "bin": binary.parent,
            "folder": folder,
            "port": port,
            "port2": examples.free_port(),
        }

        def words(text: str) -> list[str]:
            return [word.format_map(values) for word in text.split()]

        environment = {**os.environ, **dict(w.split("=", 1) for w in words(self.environment))}
        with open(folder / "log", "w") as log:
            if self.prepare:
                subprocess.run(
                    words(self.prepare), user=user, stdout=log, stderr=log, cwd=folder, check=True
                )
            process = subprocess.Popen(
                words(self.command),
                user=user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment,
            )
        try:
            deadline = time.monotonic() + SECONDS_TO_START
            # No event tells this from outside.
            while not self.ready(folder, port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no {self.name}:\n{(folder / 'log').read_text()}")
                time.sleep(0.05)
            yield self.url.format(port=port)
        finally:
            process.terminate()
            process.wait(SECONDS_TO_START)


def postmaster_is_ready(folder: Path, port: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return "ready" in (folder / "data" / "postmaster.pid").read_text()
    return False


POSTGRES = Service(
    name="PostgreSQL",
    variable="POSTGRES_DSN",
    url="postgresql://postgres@127.0.0.1:{port}/postgres",
    port=5432,
    binary="postgres",
    prepare="{bin}/initdb -D {folder}/data -U postgres -A trust --no-sync",
    command="{binary} -D {folder}/data -h 127.0.0.1 -p {port} -k {folder} -F",
    user="postgres",
    ready=postmaster_is_ready,
)
MARIADB = Service(
    name="MariaDB",
    variable="MARIADB_URL",
    url="mysql://root@127.0.0.1:{port}/test",
    port=3306,
    binary="mariadbd",
    prepare="mariadb-install-db --no-defaults --datadir={folder}/data",
    command="{binary} --no-defaults --datadir={folder}/data --bind-address=127.0.0.1"
    " --port={port} --socket={folder}/socket --pid-file={folder}/pid --skip-grant-tables"
    " --skip-networking=0",
    user="mysql",
)
RABBITMQ = Service(
    name="RabbitMQ",
    variable="AMQP_URL",
    url="amqp://guest:guest@127.0.0.1:{port}/",
    port=5672,
    binary="rabbitmq-server",
    command="{binary}",
    environment="HOME={folder} RABBITMQ_NODENAME=examples{port}@localhost RABBITMQ_NODE_PORT={port}"
    " RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_DIST_PORT={port2}"
    " RABBITMQ_MNESIA_BASE={folder}/data RABBITMQ_LOG_BASE={folder}/logs"
    " RABBITMQ_CONFIG_FILE={folder}/none RABBITMQ_ENABLED_PLUGINS_FILE={folder}/plugins"
    " RABBITMQ_CONF_ENV_FILE=/dev/null",
    user="rabbitmq",
)
NATS = Service(
    name="NATS",
    variable="NATS_URL",
    url="nats://127.0.0.1:{port}",
    port=4222,
    binary="nats-server",
    command="{binary} -a 127.0.0.1 -p {port} -js -sd {folder}",
)
MOSQUITTO = Service(
    name="Mosquitto",
    variable="MQTT_URL",
    url="mqtt://127.0.0.1:{port}",
    port=1883,
    binary="mosquitto",
    command="{binary} -p {port}",
)
REDIS = Service(
    name="Redis",
    variable="REDIS_URL",
    url="redis://127.0.0.1:{port}/0",
    port=6379,
    binary="redis-server",
    command="{binary} --port {port} --bind 127.0.0.1 --save --dir {folder}",
)


@contextlib.contextmanager
def session() -> Iterator[Callable[[Service], None]]:
    """A function that sees to it that programs find a service, and that skips if it can't."""
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:

        def serve(service: Service) -> None:
            if service.variable in os.environ or examples.listens("127.0.0.1", service.port):
                return
            binary = service.installed()
            if binary is None:
                pytest.skip(f"no {service.name} on 127.0.0.1:{service.port}, nor is it installed")
            # Not one of pytest's, where nobody else may look in.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = stack.enter_context(service.started(binary, folder))
            patch.setenv(service.variable, url)

        yield serve
