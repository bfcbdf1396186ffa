"""asyncio.create_subprocess_exec() and _shell(): programs, their input, output and end."""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

import pytest

from .conftest import python

pytestmark = pytest.mark.usefixtures("way")

MIB = 1024 * 1024


async def start(*args, **options):
    return await asyncio.create_subprocess_exec(*args, **options)


async def test_input_comes_back():
    cat = await start("cat", stdin=PIPE, stdout=PIPE)
    data = os.urandom(MIB + 1)
    output, errors = await cat.communicate(data)
    assert (output, errors, cat.returncode) == (data, None, 0)


async def test_line_by_line():
    cat = await start("cat", stdin=PIPE, stdout=PIPE)
    for line in (b"one\n", b"two\n"):
        cat.stdin.write(line)
        await cat.stdin.drain()
        assert await cat.stdout.readline() == line
    cat.stdin.close()
    await cat.stdin.wait_closed()
    assert await cat.stdout.read() == b""
    assert await cat.wait() == 0


async def test_both_outputs():
    sh = await start("sh", "-c", "echo out; echo err >&2; exit 7", stdout=PIPE, stderr=PIPE)
    assert await sh.communicate() == (b"out\n", b"err\n")
    assert sh.returncode == 7


async def test_one_output_for_both():
    sh = await start("sh", "-c", "echo out; echo err >&2", stdout=PIPE, stderr=STDOUT)
    assert await sh.communicate() == (b"out\nerr\n", None)


async def test_more_output_than_the_reader_holds():
    code = "import os\nfor i in range(64): os.write(1, bytes([i]) * 65536)"
    child = await start(*python(code), stdout=PIPE, limit=1000)
    output, _ = await child.communicate()
    assert output == b"".join(bytes([i]) * 65536 for i in range(64))


async def test_a_slow_reader_loses_nothing():
    child = await start("head", "-c", str(4 * MIB), "/dev/zero", stdout=PIPE, limit=1000)
    await child.stdout.readexactly(10)
    while child.stdout._transport.is_reading():  # until flow control has stopped it
        await asyncio.sleep(0)
    assert len(await child.stdout.read()) == 4 * MIB - 10
    assert await child.wait() == 0


async def test_nowhere():
    sh = await start(
        "sh", "-c", "cat; echo out; echo err >&2", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    assert (sh.stdin, sh.stdout, sh.stderr) == (None, None, None)
    assert await sh.wait() == 0


async def test_files(tmp_path):
    (tmp_path / "in").write_bytes(b"from a file")
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as sink:
        cat = await start("cat", stdin=source, stdout=sink)
        assert await cat.wait() == 0
    assert (tmp_path / "out").read_bytes() == b"from a file"


async def test_shell():
    shell = await asyncio.create_subprocess_shell("echo $((40 + 2)); exit 3", stdout=PIPE)
    assert await shell.communicate() == (b"42\n", None)
    assert shell.returncode == 3


async def test_program_and_arguments_as_paths_and_bytes(tmp_path):
    (tmp_path / "f").write_text("content")
    cat = await start(b"cat", tmp_path / "f", os.fsencode(tmp_path / "f"), stdout=PIPE)
    assert await cat.communicate() == (b"contentcontent", None)


async def test_directory_and_environment(tmp_path):
    sh = await start(
        "sh",
        "-c",
        'pwd; echo "$WORD"',
        stdout=PIPE,
        cwd=tmp_path,
        env={**os.environ, "WORD": "passed"},
    )
    assert (await sh.communicate())[0].decode().split() == [str(tmp_path), "passed"]


async def test_passed_descriptors():
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe:
        sh = await start("sh", "-c", f"echo through >/dev/fd/{writing}", pass_fds=[writing])
        os.close(writing)
        assert await sh.wait() == 0
        assert pipe.read() == b"through\n"


async def test_a_session_of_its_own():
    code = "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0))"
    child = await start(*python(code), stdout=PIPE, start_new_session=True)
    assert (await child.communicate())[0] == b"True\n"


async def test_a_process_group_is_signalled_as_one():
    leader = await start("sh", "-c", "sleep 100 & echo up; wait", stdout=PIPE, process_group=0)
    assert await leader.stdout.readline() == b"up\n"
    assert os.getpgid(leader.pid) == leader.pid
    os.killpg(leader.pid, signal.SIGKILL)
    assert await leader.stdout.read() == b""  # the sleep has gone too
    assert await leader.wait() == -signal.SIGKILL


async def test_joins_a_process_group():
    first = await start("cat", stdin=PIPE, process_group=0)
    second = await start("cat", stdin=PIPE, process_group=first.pid)
    assert os.getpgid(second.pid) == first.pid
    await asyncio.gather(first.communicate(b""), second.communicate(b""))


@pytest.mark.parametrize("send", ["terminate", "kill", "send_signal"])
async def test_signals(send):
    sleep = await start("sleep", "100")
    sent = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL, "send_signal": signal.SIGUSR1}
    getattr(sleep, send)(*[signal.SIGUSR1] if send == "send_signal" else [])
    assert await sleep.wait() == -sent[send]
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(ProcessLookupError):
        sleep.kill()


async def test_many_wait_for_one():
    cat = await start("cat", stdin=PIPE)
    waiting = [asyncio.ensure_future(cat.wait()) for _ in range(10)]
    waiting[0].cancel()
    await asyncio.sleep(0)
    cat.stdin.close()
    assert await asyncio.gather(*waiting[1:]) == [0] * 9
    assert await cat.wait() == 0


async def test_input_that_nobody_reads(new_loop):
    child = await start("true", stdin=PIPE, stdout=PIPE)
    assert await child.communicate(bytes(4 * MIB)) == (b"", None)
    assert child.returncode == 0


async def test_writing_to_who_has_gone_raises():
    child = await start("true", stdin=PIPE)
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            child.stdin.write(bytes(65536))
            await child.stdin.drain()
    assert await child.wait() == 0


async def test_what_cannot_be_started(tmp_path):
    with pytest.raises(FileNotFoundError):
        await start(tmp_path / "missing", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    (tmp_path / "text").write_text("no program")
    with pytest.raises(PermissionError):
        await start(tmp_path / "text", stdin=PIPE)
    with pytest.raises(FileNotFoundError):
        await start("true", cwd=tmp_path / "missing")
    with pytest.raises(TypeError):
        await start("true", no_such_option=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"bufsize": 1}, "bufsize must be 0"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
    ],
)
async def test_bytes_only(options, message):
    with pytest.raises(ValueError, match=message):
        await start("true", **options)
    with pytest.raises(ValueError, match=message):
        await asyncio.create_subprocess_shell("true", **options)


async def test_a_shell_is_asked_for_by_name():
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match="shell must be False"):
        await loop.subprocess_exec(asyncio.SubprocessProtocol, "true", shell=True)
    with pytest.raises(ValueError, match="shell must be True"):
        await loop.subprocess_shell(asyncio.SubprocessProtocol, "true", shell=False)
    with pytest.raises(ValueError, match="cmd must be a string"):
        await loop.subprocess_shell(asyncio.SubprocessProtocol, ["true"])


async def test_a_pipeline_of_pipes():
    reading, writing = os.pipe()
    first = await start("head", "-c", "100000", "/dev/zero", stdout=writing)
    os.close(writing)
    second = await start("wc", "-c", stdin=reading, stdout=PIPE)
    os.close(reading)
    assert (await second.communicate())[0].strip() == b"100000"
    assert await first.wait() == 0


async def test_beside_plain_subprocess():
    cat = await start("cat", stdin=PIPE, stdout=PIPE)
    plain = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-S", "-c", "raise SystemExit(5)"], check=False
    )
    assert plain.returncode == 5
    assert (await cat.communicate(b"x"))[0] == b"x"
    assert cat.returncode == 0
