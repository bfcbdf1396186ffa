"""Sockets that were passed, by systemd or by number, and what systemd is told."""

import signal
import socket

import penstock
import pytest

from .processes import command, request, until

# What systemd does between fork and exec: the variable has to name the process itself.
PASS = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


@pytest.fixture
def new_loop():
    return penstock.new_event_loop


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_listen_fds(tmp_path, listener, workers):
    port = listener.getsockname()[1]
    before = ("-c", PASS, str(listener.fileno()))
    async with command(
        tmp_path, "--workers", workers, port=None, before=before, pass_fds=(listener.fileno(),)
    ) as served:
        await served.logged(f"penstock serves on http://127.0.0.1:{port}")
        assert (await request(port)).startswith("1 ")
        if workers != "0":
            served.send(signal.SIGHUP)
            await served.logged("Reloaded")
            assert (await request(port)).startswith("1 ")
        assert await served.stop() == -signal.SIGTERM


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_fd(tmp_path, listener, workers):
    port = listener.getsockname()[1]
    words = ("--workers", workers, "--fd", str(listener.fileno()))
    async with command(tmp_path, *words, port=None, pass_fds=(listener.fileno(),)) as served:
        await served.logged(f"penstock serves on http://127.0.0.1:{port}")
        assert (await request(port)).startswith("1 ")
        assert await served.stop() == -signal.SIGTERM


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_what_systemd_is_told(tmp_path, workers):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path)
        told.setblocking(False)

        def heard():
            try:
                return told.recv(4096).decode()
            except BlockingIOError:
                return None

        async with command(tmp_path, "--workers", workers, NOTIFY_SOCKET=path) as served:
            assert await until(heard) == "READY=1"
            if workers != "0":
                served.send(signal.SIGHUP)
                assert (await until(heard)).startswith("RELOADING=1\nMONOTONIC_USEC=")
                assert await until(heard) == "READY=1"
            served.send(signal.SIGTERM)
            assert await until(heard) == "STOPPING=1"
            assert await served.ended() == -signal.SIGTERM
