"""Runs each program of this folder for real, on stock asyncio and on penstock, side by side.

All on loopback. A program whose packages or whose service is missing is skipped, and says so.
"""

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import _local

CLIENTS_OF_AIOHTTP = 1000
CLIENTS_OF_FRAMEWORKS = 200
URLS = 2000
CONNECTIONS = 10_000
FILES_BESIDES = 200

Runtime = list[str]


class Outcome(NamedTuple):
    what: str
    seconds: float


class Skip(Exception):
    pass


def needs(*packages: str) -> None:
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise Skip(f"not installed: {', '.join(missing)}")


def needs_service(name: str, port: int) -> None:
    if not _local.listens("127.0.0.1", port):
        raise Skip(f"{name} does not answer on 127.0.0.1:{port}")


def script(runtime: Runtime, program: str, *words: str, stdin: str = "") -> tuple[str, float]:
    """Its output, standard error included, and the time from its start to its end."""
    started = time.perf_counter()
    run = subprocess.run(
        [*runtime, str(_local.HERE / program), *words],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    if run.returncode != 0:
        raise RuntimeError(f"{program} ended with {run.returncode}:\n{run.stdout}")
    return run.stdout, time.perf_counter() - started


def two_sleeps(runtime: Runtime) -> Outcome:
    output, seconds = script(runtime, "two_sleeps.py")
    return Outcome(f"{output.count('wakes up')} sleeps of 2 s at once", seconds)


def hello_aiohttp(runtime: Runtime) -> Outcome:
    needs("aiohttp")
    return server(runtime, "hello_aiohttp.py", CLIENTS_OF_AIOHTTP)


def scraper(runtime: Runtime) -> Outcome:
    needs("aiohttp")
    with _local.sites() as urls:
        few, _ = script(runtime, "scraper.py", *urls.values())
        got = [line.rpartition(": ")[2] for line in few.splitlines()]
        many, seconds = script(runtime, "scraper.py", stdin=f"{urls['good']}\n" * URLS)
    pages = many.count(": 200, 1000 bytes")
    return Outcome(f"{'; '.join(got)}; then {pages} pages at once", seconds)


def gather_error(runtime: Runtime) -> Outcome:
    output, seconds = script(runtime, "gather_error.py")
    return Outcome("; ".join(output.splitlines()[1:3]), seconds)


def task_names_in_logs(runtime: Runtime) -> Outcome:
    output, seconds = script(runtime, "task_names_in_logs.py")
    return Outcome(f"log lines of {', '.join(sorted(set(re.findall('till .', output))))}", seconds)


def breakpoint_in_coroutine(runtime: Runtime) -> Outcome:
    started = time.perf_counter()
    program = str(_local.HERE / "breakpoint_in_coroutine.py")
    shown, status = _local.debug([*runtime, program], ["p total", "continue"])
    if status != 0:
        raise RuntimeError(f"{program} ended with {status}:\n{shown}")
    said = "42" if "(Pdb) p total\n42" in shown else "nothing"
    return Outcome(f"pdb stops in a coroutine and prints {said}", time.perf_counter() - started)


def hello_fastapi(runtime: Runtime) -> Outcome:
    needs("fastapi", "uvicorn")
    return server(runtime, "hello_fastapi.py", CLIENTS_OF_FRAMEWORKS)


def hello_tornado(runtime: Runtime) -> Outcome:
    needs("tornado")
    return server(runtime, "hello_tornado.py", CLIENTS_OF_FRAMEWORKS)


def query_postgres(runtime: Runtime) -> Outcome:
    needs("asyncpg")
    if "POSTGRES_DSN" not in os.environ:
        needs_service("PostgreSQL", 5432)
    return database(runtime, "query_postgres.py")


def query_redis(runtime: Runtime) -> Outcome:
    needs("redis")
    if "REDIS_URL" not in os.environ:
        needs_service("Redis", 6379)
    return database(runtime, "query_redis.py")


def query_psycopg(runtime: Runtime) -> Outcome:
    return told(runtime, "query_psycopg.py", "psycopg", "PostgreSQL", "POSTGRES_DSN", 5432)


def query_mariadb(runtime: Runtime) -> Outcome:
    return told(runtime, "query_mariadb.py", "aiomysql", "MariaDB", "MARIADB_URL", 3306)


def work_queue(runtime: Runtime) -> Outcome:
    return told(runtime, "work_queue.py", "aio_pika", "RabbitMQ", "AMQP_URL", 5672)


def stream_nats(runtime: Runtime) -> Outcome:
    return told(runtime, "stream_nats.py", "nats", "NATS", "NATS_URL", 4222)


def publish_mqtt(runtime: Runtime) -> Outcome:
    return told(runtime, "publish_mqtt.py", "aiomqtt", "an MQTT broker", "MQTT_URL", 1883)


def call_grpc(runtime: Runtime) -> Outcome:
    return told(runtime, "call_grpc.py", "grpc")


def session_ssh(runtime: Runtime) -> Outcome:
    return told(runtime, "session_ssh.py", "asyncssh")


def echo_udp(runtime: Runtime) -> Outcome:
    return told(runtime, "echo_udp.py")


def hello_https(runtime: Runtime) -> Outcome:
    needs("aiohttp", "trustme")
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    with authority.cert_pem.tempfile() as trusted, certificate.tempfile() as path:
        with _local.serving(runtime, "hello_https.py", CERTIFICATE=path) as (_, port):
            seconds, answers = _local.ask(port, CLIENTS_OF_FRAMEWORKS, trusted)
    return Outcome(f"{counted(answers)}, all at once", seconds)


def idle_connections(runtime: Runtime) -> Outcome:
    count = min(CONNECTIONS, _local.raise_open_files() - FILES_BESIDES)
    output, seconds = script(runtime, "idle_connections.py", str(count))
    return Outcome(output.splitlines()[1].rpartition(" in ")[0], seconds)


def server(runtime: Runtime, program: str, count: int) -> Outcome:
    with _local.serving(runtime, program) as (_, port):
        seconds, answers = _local.ask(port, count)
    return Outcome(f"{counted(answers)}, all at once", seconds)


def counted(answers: dict[str, int]) -> str:
    return ", ".join(f"{number} x {answer}" for answer, number in answers.items())


def told(
    runtime: Runtime,
    program: str,
    package: str | None = None,
    service: str = "",
    variable: str = "",
    port: int = 0,
) -> Outcome:
    """The first and the last line of a program that may want a package and a service."""
    if package is not None:
        needs(package)
    if service and variable not in os.environ:
        needs_service(service, port)
    output, seconds = script(runtime, program)
    lines = output.splitlines()
    return Outcome(f"{lines[0]}; {lines[-1]}", seconds)


def database(runtime: Runtime, program: str) -> Outcome:
    output, seconds = script(runtime, program)
    lines = output.splitlines()
    return Outcome(f"{lines[1]}; {lines[-1]}", seconds)


PROGRAMS: list[Callable[[Runtime], Outcome]] = [
    two_sleeps,
    hello_aiohttp,
    scraper,
    gather_error,
    task_names_in_logs,
    breakpoint_in_coroutine,
    hello_fastapi,
    hello_tornado,
    query_postgres,
    query_redis,
    query_psycopg,
    query_mariadb,
    work_queue,
    stream_nats,
    publish_mqtt,
    call_grpc,
    session_ssh,
    echo_udp,
    hello_https,
    idle_connections,
]


def main() -> int:
    loop = asyncio.new_event_loop()
    loop.close()
    print(f"Python {sys.version.split()[0]}; this tour itself runs on {type(loop).__module__}.")
    print(
        "Seconds from start to end of a script; of a server, until its last client is answered.\n"
    )
    print(f"{'program':24} {'asyncio':>8} {'penstock':>9}  what it did")
    failed = 0
    for program in PROGRAMS:
        print(f"{program.__name__:24} ", end="", flush=True)
        try:
            stock = program(_local.ASYNCIO)
            print(f"{stock.seconds:6.2f} s ", end="", flush=True)
            ours = program(_local.PENSTOCK)
            print(f"{ours.seconds:7.2f} s  {ours.what}")
        except Skip as reason:
            print(f"skipped: {reason}")
            continue
        except Exception as error:
            print(f"failed: {error}")
            failed += 1
            continue
        if (was := timeless(stock.what)) != timeless(ours.what):
            print(f"{'':24} differs from asyncio: {was}")
            failed += 1
    return int(failed > 0)


def timeless(text: str) -> str:
    return re.sub(r"\d+\.\d+ s", "… s", text)


if __name__ == "__main__":
    _local.raise_open_files()
    # A background job of a shell ignores it, and so would the servers that are to end by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
