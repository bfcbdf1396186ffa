"""`python -m penstock._serve.worker FD`: one worker, as a supervisor starts it.

FD is its end of a channel, by which it gets what it serves, tells that it is ready and that it
lives, and learns when it is to end: also when the supervisor dies. Then what is under way ends as
ever, and nobody is left who kills a worker that hangs: so the kernel is asked to.
"""

from __future__ import annotations

import asyncio
import base64
import faulthandler
import pickle
import select
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

import penstock
from penstock import _core
from penstock._runner import run

from . import logs, metrics
from .channel import Channel
from .config import ServerError
from .server import Server

_BEAT = 0.5  # seconds
AFTER_GRACE = 5.0  # seconds beyond timeout_graceful_shutdown, then a worker is killed
_STARTING = 30.0  # seconds of that, until the options are there


@dataclass(frozen=True)
class Assignment:
    """What a worker is to do: sent to it as its first message."""

    app: str
    options: dict[str, Any]
    slot: int
    fds: tuple[int, ...]  # of the listening sockets

    def to_text(self) -> str:
        # Pickled, for options are more than JSON has; both ends are the same program.
        return base64.b64encode(pickle.dumps(self)).decode()

    @staticmethod
    def from_text(text: str) -> Assignment:
        found = pickle.loads(base64.b64decode(text))
        assert isinstance(found, Assignment)
        return found


class Worker(Server):
    def __init__(self, channel: Channel, assignment: Assignment) -> None:
        super().__init__(assignment.app, **assignment.options)
        self._channel = channel
        self._beating: asyncio.TimerHandle | None = None

    async def work(self, sockets: list[socket.socket]) -> None:
        """Serve until the supervisor wants no more, or is no more."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_signal, signal.SIGTERM)
        loop.add_reader(self._channel.fileno(), self._on_message)
        try:
            await self.serve(sockets)
        finally:
            if self._beating is not None:
                self._beating.cancel()
            loop.remove_reader(self._channel.fileno())
            loop.remove_signal_handler(signal.SIGTERM)
            self._channel.send("ended", **self._state())

    def _state(self) -> dict[str, Any]:
        return {"counts": self.measure(), "resident": metrics.resident_bytes()}

    def _tell_ready(self) -> None:
        self._channel.send("ready", **self._state())
        self._beat()

    def _beat(self) -> None:
        self._channel.send("beat", **self._state())
        self._beating = asyncio.get_running_loop().call_later(_BEAT, self._beat)

    def _on_message(self) -> None:
        messages, is_open = self._channel.receive()
        for message in messages:
            if message["kind"] == "abort":
                self._is_forced = True
            self.stop(restarts=message.get("restarts", False))
        if not is_open:
            logs.server.warning("The supervisor is gone: its worker ends")
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self.stop()


def _first_message(channel: Channel) -> Assignment | None:
    """None where the supervisor has gone: no signal tells of that if it was before we asked."""
    waiting = select.poll()
    waiting.register(channel.fileno(), select.POLLIN)
    [(_, events)] = waiting.poll()
    if events & select.POLLHUP:
        return None
    messages, _ = channel.receive()
    return Assignment.from_text(messages[0]["assignment"]) if messages else None


def main(words: list[str]) -> int:
    """0 after a good end, 2 for what the operator has to mend, as the command has it."""
    faulthandler.enable()  # the supervisor's SIGABRT shows where a worker hangs
    # A terminal's, which the whole group gets: what it means is the supervisor's to say. No
    # SIG_IGN, which the application's children would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    _core.end_when_orphaned(_STARTING + AFTER_GRACE)
    channel = Channel(socket.socket(fileno=int(words[0])))
    assignment = _first_message(channel)
    if assignment is None:
        return 0
    sockets = [socket.socket(fileno=fd) for fd in assignment.fds]
    for each in sockets:
        each.set_inheritable(False)
    penstock.install()
    try:
        worker = Worker(channel, assignment)
        grace = worker.config.timeout_graceful_shutdown
        _core.end_when_orphaned(grace + AFTER_GRACE if grace else 0)
        logs.configure(worker.config)
        run(worker.work(sockets))
    except ServerError as error:
        channel.send("failed", message=str(error))
        return 2
    return 0


if __name__ == "__main__":
    # Under the name by which the supervisor has pickled what it sends.
    from penstock._serve import worker

    sys.exit(worker.main(sys.argv[1:]))
