"""Brokers: messages that are shared out, stored, wanted back, and waited for in vain."""

import pytest

from . import services
from .local import Run, Serve


class TestRabbitMQ:
    def test_three_workers_do_all_the_jobs(self, run: Run, serve: Serve) -> None:
        pytest.importorskip("aio_pika")
        serve(services.RABBITMQ)
        process = run("work_queue.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "50 of 50 jobs done",
            "workers: CancelledError CancelledError CancelledError",
        ]


class TestNats:
    def test_subscribes_requests_and_stores(self, run: Run, serve: Serve) -> None:
        pytest.importorskip("nats")
        serve(services.NATS)
        process = run("stream_nats.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "1000 messages, in order: True",
            "the sum of 100 replies: 9900",
            "nobody responds",
            "4950 bytes stored and read back",
            "nothing more is stored",
        ]


class TestMqtt:
    def test_every_value_comes_once(self, run: Run, serve: Serve) -> None:
        pytest.importorskip("aiomqtt")
        serve(services.MOSQUITTO)
        process = run("publish_mqtt.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "north: 20 values, the sum 190",
            "south: 20 values, the sum 190",
            "west: 20 values, the sum 190",
            "1048576 bytes came back whole: True",
            "another client went wrong",
            "and left no will",
        ]
