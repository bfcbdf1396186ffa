"""`--workers`: reloads and recycles lose nothing, crashes little, and nobody is left behind."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys

import penstock
import pytest
import websockets
from penstock._serve.channel import Channel
from penstock._serve.config import Config
from penstock._serve.worker import Assignment

from .processes import APP, Load, command, members, request, until

# So many are what is promised; fewer for those who wait for the tests.
ROUNDS = int(os.environ.get("PENSTOCK_TEST_ROUNDS", "3"))


@pytest.fixture
def new_loop():
    return penstock.new_event_loop


def pid_of(answer):
    return int(answer.split()[1])


async def test_each_worker_gets_connections_and_all_end(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        port = await served.serves()
        pids = {pid_of(await request(port)) for _ in range(40)}
        assert sorted(pids) == served.workers
        assert await served.stop() == -signal.SIGTERM


async def test_reloads_lose_nothing(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        async with Load(await served.serves()) as load:
            for number in range(ROUNDS):
                await load.goes_on()
                before = served.workers
                served.write(APP.replace('VERSION = "1"', f'VERSION = "reload {number}"'))
                served.send(signal.SIGHUP)
                await served.logged("Reloaded: all workers are new", number + 1)
                await until(lambda before=before: not set(before) & set(served.workers))
                await load.goes_on()
        assert load.failures == []
        versions = {answer.rsplit(" ", 1)[0] for answer in load.answers}
        assert f"reload {ROUNDS - 1}" in versions
        assert await served.stop() == -signal.SIGTERM


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (["--limit-max-requests", "300", "--limit-max-requests-jitter", "100"], "requests"),
        (["--limit-worker-lifetime", "1"], "lifetime"),
    ],
)
async def test_recycles_lose_nothing(tmp_path, limit, reason):
    async with command(tmp_path, "--workers", "2", *limit) as served:
        async with Load(await served.serves()) as load:
            await served.logged(rf"has reached its limit \({reason}\)", ROUNDS)
            await load.goes_on()
        assert load.failures == []
        assert await served.stop() == -signal.SIGTERM


@pytest.mark.parametrize(
    ("words", "signals", "code"),
    [
        ([], signal.SIGHUP, 1012),
        (["--limit-worker-lifetime", "1"], None, 1012),
        (["--reload"], None, 1012),
        ([], signal.SIGTERM, 1001),
    ],
)
async def test_websockets_are_told_whether_to_come_again(tmp_path, words, signals, code):
    async with command(tmp_path, "--workers", "1", *words) as served:
        url = f"ws://127.0.0.1:{await served.serves()}"
        async with websockets.connect(url) as client:
            # Its handshake is answered when the worker has been told to end.
            late = asyncio.ensure_future(websockets.connect(f"{url}/?1").__aenter__())
            await client.send("here")
            assert await client.recv() == "here"
            if signals is not None:
                served.send(signals)
            elif "--reload" in words:
                served.write(APP + "# changed")
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
        assert client.close_code == code
        await (await late).wait_closed()
        assert (await late).close_code == code


@pytest.mark.memory
async def test_a_worker_that_has_grown_is_replaced(tmp_path):
    async with command(tmp_path, "--workers", "1", "--limit-worker-rss", "150m") as served:
        port = await served.serves()
        [before] = served.workers
        await request(port, f"/grow?{200 << 20}")
        await served.logged(r"has reached its limit \(rss\)")
        await until(lambda: served.workers and before not in served.workers)
        assert await served.stop() == -signal.SIGTERM


async def test_a_limit_below_what_a_worker_starts_with_is_left_out(tmp_path):
    async with command(tmp_path, "--workers", "1", "--limit-worker-rss", "1m") as served:
        await served.logged("limit_worker_rss is less than worker 0")
        await served.serves()
        assert await served.stop() == -signal.SIGTERM


async def test_a_reload_that_fails_leaves_the_workers(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        async with Load(await served.serves()) as load:
            before = served.workers
            served.write("raise RuntimeError('half written')")
            served.send(signal.SIGHUP)
            await served.logged("The reload is given up")
            assert "half written" in served.log
            await load.goes_on()
            assert served.workers == before
            served.write(APP)
            served.send(signal.SIGHUP)
            await served.logged("Reloaded: all workers are new")
        assert load.failures == []
        assert await served.stop() == -signal.SIGTERM


async def test_a_crash_loses_only_what_the_worker_had(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        async with Load(await served.serves(), clients=8) as load:
            for number in range(ROUNDS):
                await load.goes_on()
                os.kill(served.workers[0], signal.SIGKILL)
                await served.logged(
                    r"worker \d \(pid \d+\) has ended with signal SIGKILL", number + 1
                )
                await until(lambda: len(served.workers) == 2)
                # Failures make clients wait for a moment, answers may be few for as long.
                goal = load.total + 200
                await until(lambda goal=goal: load.total >= goal)
            # What was under way there, by each of the clients, and nothing later.
            assert len(load.failures) <= 8 * ROUNDS
        assert await served.stop() == -signal.SIGTERM


async def test_a_worker_that_exits_is_started_again(tmp_path):
    async with command(tmp_path, "--workers", "1") as served:
        port = await served.serves()
        with pytest.raises((AssertionError, OSError)):
            await request(port, "/exit")
        await served.logged(r"worker 0 \(pid \d+\) has ended with exit status 7")
        assert pid_of(await request(port)) in served.workers
        assert await served.stop() == -signal.SIGTERM


async def test_a_worker_that_is_blocked_is_killed_and_shows_where(tmp_path):
    words = ("--workers", "1", "--timeout-worker-healthcheck", "1")
    async with command(tmp_path, *words) as served:
        port = await served.serves()
        blocked = asyncio.ensure_future(request(port, "/block?60"))
        await served.logged("has been blocked for 1 s: it is killed")
        await served.logged(r'served\.py", line \d+ in app')
        with pytest.raises((AssertionError, OSError)):
            await blocked
        assert pid_of(await request(port)) in served.workers
        assert await served.stop() == -signal.SIGTERM


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_what_is_under_way_is_finished(tmp_path, workers):
    async with command(tmp_path, "--workers", workers) as served:
        port = await served.serves()
        busy = [asyncio.ensure_future(request(port, "/slow?0.5")) for _ in range(20)]
        # All are there before it is told to end.
        await request(port)
        served.send(signal.SIGTERM)
        for each in busy:
            assert (await each).startswith("1 ")
        assert await served.ended() == -signal.SIGTERM


async def test_a_second_signal_ends_at_once(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        port = await served.serves()
        busy = asyncio.ensure_future(request(port, "/slow?600"))
        await request(port)
        served.send(signal.SIGINT)
        await served.logged("Stopping")
        served.send(signal.SIGINT)
        with pytest.raises((AssertionError, OSError)):
            await busy
        assert await served.ended() == 130


async def test_who_does_not_end_is_cut_off(tmp_path):
    words = ("--workers", "1", "--timeout-graceful-shutdown", "0.5")
    async with command(tmp_path, *words) as served:
        port = await served.serves()
        busy = asyncio.ensure_future(request(port, "/slow?600"))
        await request(port)
        served.send(signal.SIGTERM)
        with pytest.raises((AssertionError, OSError)):
            await busy
        assert await served.ended() == -signal.SIGTERM
        assert "had not ended 0.5 s after" in served.log


async def test_workers_end_when_the_supervisor_dies(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        port = await served.serves()
        busy = asyncio.ensure_future(request(port, "/slow?0.5"))
        await request(port)
        served.send(signal.SIGKILL)
        assert (await busy).startswith("1 ")
        await until(lambda: not members(served.process.pid))


@pytest.mark.parametrize(
    ("app", "path"),
    [
        (APP, "/block?600"),
        (APP, "/stubborn?600"),
        ("import time; print('hangs', flush=True); time.sleep(600)", None),
        (APP, "/stuck"),
    ],
)
async def test_workers_that_hang_end_when_the_supervisor_dies(tmp_path, app, path):
    words = ("--workers", "1", "--timeout-graceful-shutdown", "0.5")
    async with command(tmp_path, *words, app=app) as served:
        hanging = asyncio.ensure_future(request(await served.serves(), path)) if path else None
        await served.logged("hangs")
        served.send(signal.SIGKILL)
        await until(lambda: not members(served.process.pid))
        if hanging is not None:
            with pytest.raises((AssertionError, OSError)):
                await hanging


def test_a_worker_whose_supervisor_is_dead_before_it_begins(tmp_path):
    """It imports nothing that could hang."""
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        channel = Channel(ours)
        assignment = Assignment("hangs:app", vars(Config()), 0, ())
        channel.send("assignment", assignment=assignment.to_text())
        channel.close()
        fd = theirs.fileno()
        words = [sys.executable, "-P", "-m", "penstock._serve.worker", str(fd)]
        done = subprocess.run(words, pass_fds=[fd], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("app", "message", "status"),
    [
        ("", "penstock serve: module 'served' has no 'app'\n", 2),
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'", 1),
        ("import os, signal; os.kill(os.getpid(), 9)", "ended with signal SIGKILL", 137),
        (
            "async def app(scope, receive, send):\n"
            "    await receive()\n"
            "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})",
            "penstock serve: the application failed to start. no database\n",
            2,
        ),
    ],
)
async def test_an_application_that_can_not_start(tmp_path, app, message, status):
    async with command(tmp_path, "--workers", "2", app=app) as served:
        assert await served.ended() == status
        assert served.log.count(message) == 1


async def test_a_port_that_is_taken(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        port = await served.serves()
        second = tmp_path / "second"
        second.mkdir()
        async with command(second, "--workers", "2", port=str(port)) as refused:
            assert await refused.ended() == 2
            assert f"can't listen on 127.0.0.1 port {port}" in refused.log
        assert await served.stop() == -signal.SIGTERM


async def test_the_variable_for_their_number(tmp_path):
    async with command(tmp_path, WEB_CONCURRENCY="2") as served:
        await served.serves()
        assert len(served.workers) == 2
        assert await served.stop() == -signal.SIGTERM


async def test_a_port_for_metrics_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with command(tmp_path, "--workers", "2", "--metrics-port", port) as served:
            assert await served.ended() == 2
            assert f"penstock serve: can't listen on 127.0.0.1 port {port}" in served.log


async def test_more_and_fewer_workers_lose_nothing(tmp_path):
    async with command(tmp_path, "--workers", "2") as served:
        async with Load(await served.serves(), per_connection=5) as load:
            for number in range(ROUNDS):
                served.send(signal.SIGTTIN)
                await served.logged("One more worker: 3", number + 1)
                await until(lambda: len(served.workers) == 3)
                await served.logged(r"worker 2 \(pid \d+\) is ready", number + 1)
                await load.goes_on()
                served.send(signal.SIGTTOU)
                await served.logged("One worker less: 2", number + 1)
                await until(lambda: len(served.workers) == 2)
                await load.goes_on()
        assert load.failures == []
        assert await served.stop() == -signal.SIGTERM


async def test_a_unix_socket_is_shared(tmp_path):
    path = str(tmp_path / "socket")
    async with command(tmp_path, "--workers", "2", "--uds", path, port=None) as served:
        await served.logged("penstock serves on unix socket")
        pids = set()
        while len(pids) < 2:
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            pids.add(int((await reader.read()).rpartition(b" ")[2]))
            writer.close()
            await writer.wait_closed()
        assert sorted(pids) == served.workers
        assert await served.stop() == -signal.SIGTERM


async def metrics_of(served):
    [port] = await served.logged(r"serves metrics on http://127.0.0.1:(\d+)")
    return await request(int(port), "/metrics")


@pytest.mark.parametrize("workers", ["0", "1"])
async def test_websockets_are_counted(tmp_path, workers):
    async with command(tmp_path, "--workers", workers, "--metrics-port", "0") as served:
        url = f"ws://127.0.0.1:{await served.serves()}"

        async def told(**expected):
            lines = {f'penstock_{name}{{worker="0"}} {count}' for name, count in expected.items()}
            while not lines <= set((await metrics_of(served)).splitlines()):
                await asyncio.sleep(0.05)  # until the worker has told

        async with websockets.connect(url) as client, websockets.connect(url):
            for _ in range(3):
                await client.send("here")
                await client.recv()
            await told(websockets=2, websockets_accepted_total=2, requests_in_flight=0)
            await told(
                websocket_messages_received_total=3,
                websocket_messages_sent_total=3,
                requests_lost_total=0,
            )
        await told(websockets=0, websockets_accepted_total=2, requests_lost_total=0)
        text = await metrics_of(served)
        assert 'penstock_responses_total{worker="0",status="1xx"} 2\n' in text


WSGI = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [b"%r" % environ["wsgi.multiprocess"]]
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--workers", "2"], "True"), (["--workers", "0"], "False"), (["--reload"], "False")],
)
async def test_wsgi_applications_are_told_of_other_processes(tmp_path, words, expected):
    async with command(tmp_path, *words, app=WSGI) as served:
        assert await request(await served.serves()) == expected
        assert await served.stop() == -signal.SIGTERM


async def test_metrics_go_on_over_a_reload(tmp_path):
    async with command(tmp_path, "--workers", "2", "--metrics-port", "0") as served:
        port = await served.serves()

        async def total():
            text = await metrics_of(served)
            values = re.findall(r'responses_total\{worker="\d",status="2xx"\} (\d+)', text)
            return text, sum(map(int, values))

        for _ in range(20):
            await request(port)
        while (await total())[1] < 20:
            await asyncio.sleep(0.05)  # until the workers have told
        served.send(signal.SIGHUP)
        await served.logged("Reloaded")
        await until(lambda: len(served.workers) == 2)
        await request(port)
        while (await total())[1] < 21:
            await asyncio.sleep(0.05)
        text, count = await total()
        assert count == 21
        assert text.count('worker_restarts_total{worker="0",reason="reload"} 1') == 1
        assert re.search(r'response_seconds_bucket\{worker="0",le="\+Inf"\} \d+', text)
        assert await served.stop() == -signal.SIGTERM
