"""Calls and sessions: grpc.aio and asyncssh, server and client in one program."""

import pytest

from .local import Run


class TestGrpc:
    def test_calls_streams_and_deadlines(self, run: Run) -> None:
        pytest.importorskip("grpc")
        process = run("call_grpc.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "upper: b'PENSTOCK'",
            "200 calls at once: True",
            "a large one: 1000000 bytes",
            "refused: INVALID_ARGUMENT no word",
            "letters: [b'a', b'b', b'c', b'd', b'e', b'f']",
            "backwards: b'level'",
            "backwards: b'desserts'",
            "backwards: b'reviled'",
            "the end: True",
            "too late: DEADLINE_EXCEEDED",
            "the server has noticed",
            "cancelled: True",
            "the server has noticed",
        ]


class TestSsh:
    def test_runs_commands_and_copies_files(self, run: Run) -> None:
        pytest.importorskip("asyncssh")
        process = run("session_ssh.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "run: 'hello\\n' 'trouble\\n' 3",
            "fed: ['ONE', 'TWO']",
            "five at once: 1 4 9 16 25",
            "left a command half-way",
            "copied there and back: 2097152 bytes, True",
            "in the folder: ['back', 'here', 'there']",
            "no such file",
        ]
