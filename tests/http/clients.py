"""Programs of others as clients. `./dev clients` alone runs these tests, and has the programs."""

import asyncio
import os
import re
import signal
import subprocess

import penstock
import pytest

from . import replacing, slow
from .processes import command


@pytest.fixture
def new_loop():
    return penstock.new_event_loop


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PAGE = """
PAGE = b'''<!doctype html><script>
function post(text) { return fetch("/", {method: "POST", body: text}); }
async function main() {
    const answer = await (await post("posted")).text();
    const socket = new WebSocket("ws://" + location.host + "/");
    socket.onopen = () => socket.send("sent");
    socket.onmessage = (event) => post(answer + " and " + event.data);
}
main();
</script>'''

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    message = await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    body = message["body"]
    if body:
        print("the page says:", body.decode(), flush=True)
    kind = b"text/plain" if body else b"text/html"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body or PAGE})
"""


async def test_chromium(tmp_path):
    """A page, what it posts, and its WebSocket."""
    async with command(tmp_path, app=PAGE) as served:
        url = f"http://127.0.0.1:{await served.serves()}/"
        browser = await asyncio.create_subprocess_exec(
            *(
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-port=0",
            ),
            *(f"--user-data-dir={tmp_path / 'profile'}", url),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            await served.logged("the page says: posted and sent")
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            await browser.wait()
        assert await served.stop() == -signal.SIGTERM


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_h2load(tmp_path, workers):
    """Over HTTP/1.1, and with pipelines."""
    async with command(tmp_path, "--workers", workers, app=slow.APP) as served:
        url = f"http://127.0.0.1:{await served.serves()}/"
        for words in ([], ["-m", "10"]):
            told = run("h2load", "--h1", "-n", "5000", "-c", "20", *words, url)
            assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in told
        assert await served.stop() == -signal.SIGTERM


async def test_wrk(tmp_path):
    async with command(tmp_path, "--workers", "2", app=slow.APP) as served:
        told = run("wrk", "-t1", "-c50", "-d2", f"http://127.0.0.1:{await served.serves()}/")
        assert int(re.search(r"(\d+) requests in", told)[1]) > 100
        assert "Socket errors" not in told
        assert "Non-2xx" not in told
        assert await served.stop() == -signal.SIGTERM


@pytest.mark.parametrize("way", replacing.WAYS)
async def test_replacing_loses_nothing_under_wrk_and_websockets(way):
    """`./dev soak serve` replaces more often."""
    counted, failures = await replacing.replace(way, 3)
    assert failures == []
    assert counted["requests"] > 0
    assert counted["restarts"] > 0


async def test_slow_clients_keep_nobody_waiting():
    """Leniently, for the machine may have other work: `./dev soak slow` holds them to the bound."""
    found = await slow.measure(3)
    most = max(5 * slow.MOST, 3 * found["none"][0].percentile(0.99))
    for mode, (honest, is_answered) in found.items():
        assert honest.percentile(0.99) <= most, mode
        assert is_answered, mode
