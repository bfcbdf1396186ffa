"""Databases, and ten thousand connections: queries, cancellation, and no file left open."""

import os

import pytest

from .local import OpenFiles, Run, examples


class TestPostgres:
    def test_queries_cancels_and_closes(self, run: Run) -> None:
        pytest.importorskip("asyncpg")
        if "POSTGRES_DSN" not in os.environ and not examples.listens("127.0.0.1", 5432):
            pytest.skip("no PostgreSQL on 127.0.0.1:5432")
        process = run("query_postgres.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "1000 rows, the last one (1000, 1000000)",
            "cancelled a query half-way",
            "the connection still answers: 42",
            "100 queries over 5 connections: 5050",
            "files left open: 0",
        ]


class TestRedis:
    def test_commands_cancels_and_closes(self, run: Run) -> None:
        pytest.importorskip("redis")
        if "REDIS_URL" not in os.environ and not examples.listens("127.0.0.1", 6379):
            pytest.skip("no Redis on 127.0.0.1:6379")
        process = run("query_redis.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "read back: written",
            "cancelled a command half-way",
            "the client still answers: True",
            "100 commands at once: True",
            "files left open: 0",
        ]


class TestIdleConnections:
    COUNT = 10_000

    def test_all_of_them_speak_after_having_been_idle(
        self, run: Run, open_files: OpenFiles
    ) -> None:
        # The clients are a process of their own, so that each end needs one file a connection.
        open_files(self.COUNT + 200)
        lines = run("idle_connections.py", str(self.COUNT)).stdout.splitlines()
        assert lines[0] == f"{self.COUNT} connections, all idle"
        assert lines[1].startswith(f"{self.COUNT} have spoken and got their answer")
        assert lines[2] == f"{self.COUNT} connections closed"
