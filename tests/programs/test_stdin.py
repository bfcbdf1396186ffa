"""A program that reads its standard input as a pipe and as a terminal, typed to line by line."""

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from .local import EXAMPLES

PROGRAM = str(EXAMPLES / "read_stdin.py")


class TestPipe:
    def test_answers_line_by_line(self, runtime: list[str]) -> None:
        with subprocess.Popen(
            [*runtime, PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin and process.stdout and process.stderr
            assert process.stdout.readline() == "ready\n"
            for word in ("hello", "again", "x" * 10_000):
                print(word, file=process.stdin, flush=True)
                assert process.stdout.readline() == f"you said: {word}\n"
            process.stdin.write("no newline")
            process.stdin.close()
            assert process.stdout.readline() == "you said: no newline\n"
            assert process.stdout.read() == "end of input\n"
            assert process.stderr.read() == ""
        assert process.returncode == 0

    def test_input_that_is_there_already(self, runtime: list[str]) -> None:
        text = "".join(f"line {number}\n" for number in range(20_000))
        process = subprocess.run(
            [*runtime, PROGRAM], input=text, capture_output=True, text=True, timeout=120
        )
        assert process.returncode == 0 and process.stderr == ""
        said = process.stdout.splitlines()
        assert said[1:-1] == [f"you said: line {number}" for number in range(20_000)]

    def test_a_file_is_refused(self, runtime: list[str]) -> None:
        with open(PROGRAM) as file:
            process = subprocess.run(
                [*runtime, PROGRAM], stdin=file, capture_output=True, text=True, timeout=120
            )
        assert process.returncode == 1
        assert "ValueError: Pipe transport is for pipes/sockets only." in process.stderr


class TestTerminal:
    @contextmanager
    def terminal(self, runtime: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [*runtime, PROGRAM], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        try:
            yield process, master
        finally:
            process.kill()
            process.wait()
            os.close(master)

    def shown(self, terminal: int, until: str) -> str:
        """What the terminal shows, up to that text."""
        text = ""
        while until not in text:
            text += os.read(terminal, 4096).decode().replace("\r\n", "\n")
        return text

    def test_answers_line_by_line(self, runtime: list[str]) -> None:
        with self.terminal(runtime) as (process, terminal):
            assert self.shown(terminal, "ready\n") == "ready\n"
            for word in ("hello", "again"):
                os.write(terminal, f"{word}\n".encode())
                # The terminal itself echoes what is typed.
                assert self.shown(terminal, f": {word}\n") == f"{word}\nyou said: {word}\n"
            os.write(terminal, b"\x04")
            assert "end of input\n" in self.shown(terminal, "input\n")
            assert process.wait(30) == 0

    def test_a_terminal_that_hangs_up(self, runtime: list[str]) -> None:
        master, slave = pty.openpty()
        reading, writing = os.pipe()
        with subprocess.Popen(
            [*runtime, PROGRAM], stdin=slave, stdout=writing, stderr=writing
        ) as process:
            os.close(slave)
            os.close(writing)
            with open(reading) as output:
                assert output.readline() == "ready\n"
                os.write(master, b"hello\n")
                assert output.readline() == "you said: hello\n"
                os.close(master)
                # It is not the controlling terminal: no signal comes, but the end of the input.
                assert output.read() == "end of input\n"
        assert process.returncode == 0
