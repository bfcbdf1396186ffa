"""Metrics for Prometheus, in its text format 0.0.4, on a port of their own.

What is counted comes from HttpServer.metrics(), of this process or of each worker.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .config import Config

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Counts = dict[str, Any]  # what HttpServer.metrics() gives

# (key of Counts, name, type, help)
_PLAIN = (
    ("requests", "requests_started_total", "counter", "Requests that have begun."),
    ("lost", "requests_lost_total", "counter", "Requests whose client left before the end."),
    ("in_flight", "requests_in_flight", "gauge", "Requests without a complete response."),
    ("connections", "connections", "gauge", "Open connections."),
    ("accepted", "connections_accepted_total", "counter", "Connections since the start."),
    ("websockets", "websockets", "gauge", "Open WebSockets."),
    ("websockets_accepted", "websockets_accepted_total", "counter", "WebSockets since the start."),
    (
        "messages_received",
        "websocket_messages_received_total",
        "counter",
        "Messages of WebSockets that have come.",
    ),
    ("messages_sent", "websocket_messages_sent_total", "counter", "Messages sent to WebSockets."),
    ("received_bytes", "received_bytes_total", "counter", "Bytes received, without TLS."),
    ("sent_bytes", "sent_bytes_total", "counter", "Bytes sent, without TLS."),
)
_GAUGES = ("in_flight", "connections", "websockets")


@dataclass
class Worker:
    """One worker's, or this process's."""

    label: str
    counts: Counts | None = None
    resident: int | None = None  # bytes
    restarts: dict[str, int] = field(default_factory=dict)  # by reason


def resident_bytes() -> int | None:
    """This process's resident memory; None where the kernel does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return None


def added(one: Counts | None, other: Counts | None) -> Counts | None:
    """Both together: a slot's counters go on where its last worker's have ended."""
    if one is None or other is None:
        return one or other
    total: Counts = {}
    for key, value in one.items():
        if key == "bounds":
            total[key] = value
        elif isinstance(value, list):
            total[key] = [a + b for a, b in zip(value, other[key], strict=True)]
        else:
            total[key] = value + other[key]
    return total


def ended(counts: Counts | None) -> Counts | None:
    """Those of a process that is gone: nothing of it is under way."""
    return None if counts is None else {**counts, **dict.fromkeys(_GAUGES, 0)}


def text(workers: Iterable[Worker]) -> str:
    """All of them, as Prometheus reads it."""
    workers = list(workers)
    lines: list[str] = []

    def family(name: str, kind: str, about: str) -> None:
        lines.append(f"# HELP penstock_{name} {about}")
        lines.append(f"# TYPE penstock_{name} {kind}")

    counted = [(worker.label, worker.counts) for worker in workers if worker.counts is not None]
    for key, name, kind, about in _PLAIN:
        family(name, kind, about)
        lines += [f'penstock_{name}{{worker="{label}"}} {counts[key]}' for label, counts in counted]
    family("responses_total", "counter", "Complete responses, by the class of their status.")
    for label, counts in counted:
        for status, number in zip(_CLASSES, counts["responses"], strict=True):
            lines.append(f'penstock_responses_total{{worker="{label}",status="{status}"}} {number}')
    family("response_seconds", "histogram", "From a request's head to its response's end.")
    for label, counts in counted:
        lines += _histogram(label, counts)
    family("worker_resident_bytes", "gauge", "Resident memory.")
    for worker in workers:
        if worker.resident is not None:
            lines.append(
                f'penstock_worker_resident_bytes{{worker="{worker.label}"}} {worker.resident}'
            )
    family("worker_restarts_total", "counter", "Workers that were replaced, by reason.")
    for worker in workers:
        for reason, number in sorted(worker.restarts.items()):
            lines.append(
                f'penstock_worker_restarts_total{{worker="{worker.label}",reason="{reason}"}} '
                f"{number}"
            )
    return "\n".join(lines) + "\n"


def _histogram(label: str, counts: Counts) -> list[str]:
    name = "penstock_response_seconds"
    lines = []
    total = 0
    bounds = [f"{bound:g}" for bound in counts["bounds"]] + ["+Inf"]
    for bound, number in zip(bounds, counts["took"], strict=True):
        total += number
        lines.append(f'{name}_bucket{{worker="{label}",le="{bound}"}} {total}')
    lines.append(f'{name}_sum{{worker="{label}"}} {counts["seconds"]}')
    lines.append(f'{name}_count{{worker="{label}"}} {total}')
    return lines


class Exporter:
    """Serves them, in the running loop, where the options name a port for that."""

    def __init__(self, config: Config, gather: Callable[[], Iterable[Worker]]) -> None:
        self._config = config
        self._gather = gather
        self._task: asyncio.Task[None] | None = None
        self._server: Any = None

    async def start(self) -> None:
        """Raises ServerError where the port can't be had."""
        if self._config.metrics_port is None:
            return
        from .server import Server

        self._server = Server(
            self._answer,
            host=self._config.metrics_host,
            port=self._config.metrics_port,
            interface="asgi3",
            lifespan="off",
            access_log=False,
            timeout_drain=0,
            timeout_graceful_shutdown=1,
        )
        self._server.purpose = "serves metrics on"
        loop = asyncio.get_running_loop()
        started = loop.create_future()
        self._task = loop.create_task(self._server.serve(started=started), name="penstock-metrics")
        await asyncio.wait([started, self._task], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        if self._task is not None:
            self._server.stop()
            await asyncio.wait([self._task])

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in ("/", "/metrics"):
            status, kind, body = 200, CONTENT_TYPE, text(self._gather())
        else:
            status, kind, body = 404, "text/plain; charset=utf-8", "metrics are at /metrics\n"
        headers = [(b"content-type", kind.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})
