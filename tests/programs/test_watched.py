"""What watches the programs sees what they leave behind."""

from pathlib import Path

import pytest

from .local import Run

PROGRAM = """
import asyncio, os, socket, threading

async def main():
    global task, file, socket
    {leak}
    await asyncio.sleep(0)

asyncio.run(main())
"""


class TestWatched:
    @pytest.mark.parametrize(
        ("leak", "told"),
        [
            ("task = asyncio.create_task(asyncio.sleep(30), name='idle')", "task <Task pending"),
            ("file = os.open(os.devnull, os.O_RDONLY)", "file /dev/null"),
            (
                "threading.Thread(target=threading.Event().wait, daemon=True).start()",
                "thread <Thread",
            ),
        ],
        ids=["task", "file", "thread"],
    )
    def test_tells_of_a_leak(self, run: Run, tmp_path: Path, leak: str, told: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(leak=leak))
        with pytest.raises(AssertionError, match=told):
            run(str(program), SECONDS_TO_END="0.2")

    def test_tells_of_a_socket_that_was_not_closed(self, run: Run, tmp_path: Path) -> None:
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(leak="socket.socket()"))
        assert "ResourceWarning: unclosed <socket.socket" in run(str(program)).stderr
