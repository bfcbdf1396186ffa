"""Databases, and ten thousand connections: queries, cancellation, and no file left open."""

import pytest

from . import services
from .local import OpenFiles, Run, Serve


class TestPostgres:
    def test_queries_cancels_and_closes(self, run: Run, serve: Serve) -> None:
        pytest.importorskip("asyncpg")
        serve(services.POSTGRES)
        process = run("query_postgres.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "1000 rows, the last one (1000, 1000000)",
            "cancelled a query half-way",
            "the connection still answers: 42",
            "100 queries over 5 connections: 5050",
            "files left open: 0",
        ]


class TestPsycopg:
    def test_queries_copies_listens_and_cancels(self, run: Run, serve: Serve) -> None:
        pytest.importorskip("psycopg")
        serve(services.POSTGRES)
        process = run("query_psycopg.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "copied in: (10000, 100000000)",
            "copied out: 134276 bytes",
            "heard: one two three",
            "cancelled a query half-way",
            "the connection still answers: (42,)",
            "ten connections at once: 0 6 12 18 24 30 36 42 48 54",
        ]


class TestMariaDB:
    def test_transactions_streams_and_cancels(self, run: Run, serve: Serve) -> None:
        pytest.importorskip("aiomysql")
        serve(services.MARIADB)
        process = run("query_mariadb.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "after 20 payments: [{'name': 'Ada', 'money': 810}, {'name': 'Grace', 'money': 190}]",
            "10000 rows as they came, 1000000 bytes",
            "cancelled a query half-way",
            "the pool still answers: (42,)",
        ]


class TestRedis:
    def test_commands_cancels_and_closes(self, run: Run, serve: Serve) -> None:
        pytest.importorskip("redis")
        serve(services.REDIS)
        process = run("query_redis.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "read back: written",
            "cancelled a command half-way",
            "the client still answers: True",
            "100 commands at once: True",
            "files left open: 0",
        ]


class TestUdpEcho:
    def test_datagrams_come_back_and_a_closed_port_is_told(self, run: Run) -> None:
        process = run("udp_echo.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "echoed: b'hello'",
            "echoed: b'world'",
            "1000 of 1000 in order",
            "the server is gone: ConnectionRefusedError(111, 'Connection refused')",
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
