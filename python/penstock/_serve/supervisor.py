"""The process above the workers: `penstock serve --workers N`. Why it is so: docs/design/014.

It owns the listening sockets and never reads from them. Each slot has one worker that serves, and
for a while a successor, which takes the slot over once it has answered that it is ready: only then
the one before stops to accept, finishes what it has and ends. All of it is one loop's: no threads.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from penstock._runner import run

from . import logs, metrics, systemd
from .config import Config, ServerError
from .listeners import Listeners
from .server import location
from .slots import Phase, Process, Slot, delay_after, how_it_ended, spawn
from .worker import AFTER_GRACE

log = logs.server

_TICK = 0.25  # seconds between looks at limits
_LATE = 5.0  # seconds a tick may be late before it is we who were stopped
_AFTER_ABORT = 1.0
_AFTER_DUMP = 1.0  # for a worker that hangs to write its stacks
_SETTLED = 10.0  # seconds that a worker has lived: its crash is not one in a row
_MOST_FAILURES = 5  # starts that fail one after the other, with nobody who serves


class Supervisor:
    """Runs `count` workers that serve `app`, a name, until a signal."""

    def __init__(self, app: Any, config: Config, count: int) -> None:
        """Raises ServerError for an application that only this process has."""
        if not isinstance(app, str):
            raise ServerError(
                "workers import the application: it has to be given by name, 'module:attribute'"
            )
        self.config = config
        self.signal: int | None = None
        self.status: int | None = None  # of the worker that made us give up
        self.failure: str | None = None  # and what it said
        self._app = app
        self._count = count
        self._slots: list[Slot] = []
        self._processes: set[Process] = set()
        self._due: dict[Slot, str] = {}  # to be replaced, in this order, and why
        self._has_served = False
        self._is_reloading = False
        self._is_stopping = False
        self._changed = asyncio.Event()  # a process has ended, or all are to
        self._listeners: Listeners | None = None
        self._ticked_at = 0.0

    # ---- its life ----------------------------------------------------------------------------

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[[], None]] = {
            signal.SIGINT: lambda: self._on_stop(signal.SIGINT),
            signal.SIGTERM: lambda: self._on_stop(signal.SIGTERM),
            signal.SIGHUP: self.reload,
            signal.SIGTTIN: self._add_slot,
            signal.SIGTTOU: self._remove_slot,
            signal.SIGCHLD: self._reap,
        }
        self._listeners = Listeners(self.config, self._count)
        exporter = metrics.Exporter(self.config, self.measure)
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            await exporter.start()
            # One alone: an application that can't start fails once, not once for each slot.
            self._slots.append(Slot(0))
            self._start(self._slots[0])
            await self._watch()
        finally:
            self._kill_all()
            await exporter.stop()
            for number in handlers:
                loop.remove_signal_handler(number)
            self._listeners.close()

    async def _watch(self) -> None:
        self._ticked_at = asyncio.get_running_loop().time()
        while self._processes or not self._is_stopping:
            try:
                async with asyncio.timeout(_TICK):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            self._reap()
            self._tick()

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._ticked_at > _LATE:
            # It was not they who were silent, but we who did not listen.
            for process in self._processes:
                process.heard_at = now
        self._ticked_at = now
        for process in self._processes:
            if now >= process.kill_at:
                log.error("%s did not end in time: killed", process)
                process.process.kill()
                process.kill_at = float("inf")
        if self._is_stopping:
            return
        for slot in self._slots:
            if slot.serving is not None and slot.serving.phase is Phase.READY:
                self._check(slot, slot.serving, now)
        self._replace_next()

    def _check(self, slot: Slot, process: Process, now: float) -> None:
        allowed = self.config.timeout_worker_healthcheck
        if allowed and now - process.heard_at > allowed and not process.is_hanging:
            log.error("%s has been blocked for %g s: it is killed", process, allowed)
            process.is_hanging = True
            process.process.send_signal(signal.SIGABRT)
            process.kill_at = now + _AFTER_DUMP
        reason = process.limit_reached(now)
        if reason is not None and slot not in self._due and now >= slot.not_before:
            log.info("%s has reached its limit (%s): it is replaced", process, reason)
            self._due[slot] = reason

    def _kill_all(self) -> None:
        """Nobody may outlive us, also where it is an exception that ends this."""
        for slot in self._slots:
            if slot.retry is not None:
                slot.retry.cancel()
        for process in self._processes:
            process.process.kill()
        for process in list(self._processes):
            process.process.wait()
            self._forget(process)

    # ---- processes ---------------------------------------------------------------------------

    def _fds(self, slot: Slot) -> tuple[int, ...]:
        assert self._listeners is not None
        return tuple(each.fileno() for each in self._listeners.of(slot.index, self._count))

    def _has_all(self, process: Process) -> bool:
        """Whether it listens wherever its slot has to, which changes with their number."""
        return process.fds.issuperset(self._fds(process.slot))

    def _start(self, slot: Slot) -> Process:
        fds = self._fds(slot)
        made = spawn(slot, self._app, self.config, self._count, fds)
        self._processes.add(made)
        asyncio.get_running_loop().add_reader(made.channel.fileno(), self._on_message, made)
        if slot.serving is None:
            slot.serving = made
        else:
            slot.successor = made
        log.debug("%s starts", made)
        return made

    def _on_message(self, process: Process) -> None:
        messages, is_open = process.channel.receive()
        now = asyncio.get_running_loop().time()
        for message in messages:
            process.heard_at = now
            if message["kind"] == "failed":
                process.failure = message["message"]
                continue
            process.counts = message["counts"] or process.counts
            process.resident = message["resident"]
            if message["kind"] == "ready":
                self._on_ready(process, now)
        if not is_open:
            asyncio.get_running_loop().remove_reader(process.channel.fileno())

    def _on_ready(self, process: Process, now: float) -> None:
        if process.phase is not Phase.STARTING:
            return  # it was told to end meanwhile
        slot = process.slot
        process.phase = Phase.READY
        process.ready_at = now
        if process.resident is not None and process.resident >= process.most_resident:
            log.warning(
                "limit_worker_rss is less than %s has from the start, which is %d MiB: it is not "
                "replaced for that",
                process,
                process.resident >> 20,
            )
            process.most_resident = float("inf")
        if slot.successor is process:
            slot.successor = None
            before, slot.serving = slot.serving, process
            reason = self._due.pop(slot, None) if self._has_all(process) else None
            if before is not None:
                reason = reason or "fewer"
                slot.restarts[reason] = slot.restarts.get(reason, 0) + 1
                self._end(before)
        self._release(slot)
        log.info("%s is ready", process)
        if not self._has_served:
            self._has_served = True
            self._fill()
        self._tell_state()
        self._replace_next()

    def _release(self, slot: Slot) -> None:
        """Let those go whose sockets the slot's worker has taken over."""
        process = slot.serving
        if process is None or process.phase is not Phase.READY or not self._has_all(process):
            return
        for each in slot.leaving:
            self._end(each)
        slot.leaving.clear()

    def _fill(self) -> None:
        while len(self._slots) < self._count:
            self._slots.append(Slot(len(self._slots)))
            self._start(self._slots[-1])

    def _tell_state(self) -> None:
        """The first time that all are ready, and when a reload is over."""
        if not all(slot.serving and slot.serving.phase is Phase.READY for slot in self._slots):
            return
        if self._is_reloading:
            if "reload" in self._due.values():
                return
            self._is_reloading = False
            log.info("Reloaded: all workers are new")
        elif self._is_announced:
            return
        elif self._listeners is not None:
            self._is_announced = True
            for each in self._listeners.first:
                where = location(each, self.config)
                log.info("penstock serves on %s with %d workers", where, self._count)
        systemd.notify("READY=1")

    _is_announced = False

    def _reap(self) -> None:
        for process in list(self._processes):
            if process.process.poll() is not None:
                self._on_message(process)  # what it has said last
                self._forget(process)
                self._on_end(process)
        if self._is_stopping and not self._processes:
            self._changed.set()

    def _forget(self, process: Process) -> None:
        self._processes.discard(process)
        asyncio.get_running_loop().remove_reader(process.channel.fileno())
        process.channel.close()
        slot = process.slot
        slot.counted = metrics.added(slot.counted, metrics.ended(process.counts))

    def _on_end(self, process: Process) -> None:
        slot = process.slot
        was_starting = process.phase is Phase.STARTING
        is_expected = process.phase is Phase.ENDING
        how = how_it_ended(process.process.returncode)
        if is_expected or (process.failure and not self._has_served):  # who gives up will tell
            log.debug("%s has ended with %s", process, how)
        elif was_starting:
            said = f": {process.failure}" if process.failure else ""
            log.error("%s has ended with %s before it was ready%s", process, how, said)
        else:
            log.error("%s has ended with %s", process, how)
        if process in slot.leaving:
            slot.leaving.remove(process)
        elif process is slot.successor:
            slot.successor = None
            if not self._is_stopping:
                self._on_successor_failed(slot)
        elif process is slot.serving:
            slot.serving = None
            if not self._is_stopping:
                self._on_vacant(slot, process, was_starting)

    def _on_successor_failed(self, slot: Slot) -> None:
        reason = self._due.pop(slot, None)
        slot.failures += 1
        slot.not_before = asyncio.get_running_loop().time() + delay_after(slot.failures)
        if slot.serving is None:
            self._retry(slot)
            return
        log.error("%s stays, for its successor did not start", slot.serving)
        if reason == "reload":
            self._due = {each: why for each, why in self._due.items() if why != "reload"}
            self._is_reloading = False
            log.error("The reload is given up")
            systemd.notify("READY=1")

    def _on_vacant(self, slot: Slot, process: Process, was_starting: bool) -> None:
        """The slot's worker has ended by itself."""
        is_served = any(each.phase is Phase.READY for each in self._processes)
        is_last_try = not self._has_served or slot.failures + 1 >= _MOST_FAILURES
        if was_starting and not is_served and is_last_try:
            self._give_up(process)
            return
        lived = asyncio.get_running_loop().time() - process.ready_at
        if not was_starting and lived > _SETTLED:
            slot.failures = 0
        reason = "unhealthy" if process.is_hanging else "crash"
        slot.restarts[reason] = slot.restarts.get(reason, 0) + 1
        if slot.successor is not None:
            return  # which is on its way already
        self._retry(slot)

    def _retry(self, slot: Slot) -> None:
        """Start a worker in a slot that has none, later the more often it has failed."""
        delay = delay_after(slot.failures)
        slot.failures += 1
        if delay:
            log.info("Worker %d is started again in %g s", slot.index, delay)
        slot.retry = asyncio.get_running_loop().call_later(delay, self._start_vacant, slot)

    def _start_vacant(self, slot: Slot) -> None:
        slot.retry = None
        if not self._is_stopping and slot in self._slots and slot.serving is None:
            self._start(slot)

    def _give_up(self, process: Process) -> None:
        code = process.process.returncode
        self.status = code if code > 0 else 128 - code if code < 0 else 1
        self.failure = process.failure
        log.error("The workers can't be started: the server ends")
        self._stop_all()

    # ---- replacing ---------------------------------------------------------------------------

    def _replace_next(self) -> None:
        """One at a time: memory for one more worker has to do."""
        if self._is_stopping or any(slot.successor is not None for slot in self._slots):
            return
        for slot in list(self._due):
            if slot in self._slots and slot.serving is not None:
                if slot.serving.phase is not Phase.READY:
                    continue  # it starts only now: nothing is newer
                self._start(slot)
                return
            del self._due[slot]  # who is started there is new anyway

    def reload(self) -> None:
        """Replace all workers by new ones, one after the other."""
        if self._is_stopping:
            return
        log.info("Reloading: workers are replaced one by one")
        systemd.notify_reloading()
        self._is_reloading = True
        self._due = dict.fromkeys(self._slots, "reload")
        for slot in self._slots:
            slot.failures = 0
            for process in (slot.successor, slot.serving):
                # What still starts may have imported the code of before.
                if process is not None and process.phase is Phase.STARTING:
                    process.phase = Phase.ENDING
                    process.process.kill()
            if slot.successor is not None:
                slot.successor = None
            if slot.serving is not None and slot.serving.phase is Phase.ENDING:
                slot.serving = None
            if slot.serving is None:
                del self._due[slot]
                if slot.retry is not None:
                    slot.retry.cancel()
                self._start_vacant(slot)
        self._replace_next()

    def _add_slot(self) -> None:
        if self._is_stopping or not self._has_served or self._listeners is None:
            return
        try:
            self._listeners.extend(self._count + 1)
        except ServerError as error:
            log.error("There can't be one more worker: %s", error)
            return
        self._count += 1
        log.info("One more worker: %d", self._count)
        self._fill()

    def _remove_slot(self) -> None:
        """The last slot's sockets get another taker first: their queues are not lost."""
        if self._is_stopping or not self._has_served or self._listeners is None or self._count == 1:
            return
        self._count -= 1
        log.info("One worker less: %d", self._count)
        gone = self._slots.pop()
        self._due.pop(gone, None)
        if gone.retry is not None:
            gone.retry.cancel()
        taker = self._slots[gone.index % self._count]
        taker.counted = metrics.added(taker.counted, gone.counted)
        gone.counted = None
        leaving = [each for each in (gone.serving, *gone.leaving) if each is not None]
        gone.leaving = []
        if gone.successor is not None:
            self._end(gone.successor)
        gone.serving = gone.successor = None
        for process in leaving:
            process.slot = taker
        if self._listeners.is_shared:
            for process in leaving:
                self._end(process)
            return
        taker.leaving += leaving
        for slot in self._slots:
            if slot.serving is not None and not self._has_all(slot.serving):
                self._due.setdefault(slot, "fewer")
        self._release(taker)  # which may have had them once
        self._replace_next()

    # ---- ending ------------------------------------------------------------------------------

    def _end(self, process: Process, grace: float | None = None) -> None:
        """Let it finish what it has, and end."""
        if process.phase is Phase.STARTING:
            process.process.terminate()  # its loop does not run yet, or nothing is lost
        process.phase = Phase.ENDING
        allowed = self.config.timeout_graceful_shutdown if grace is None else grace
        if allowed:
            process.kill_at = asyncio.get_running_loop().time() + allowed + AFTER_GRACE
        # Where we do not end, others take over what is its.
        if not process.channel.send("stop", restarts=not self._is_stopping):
            process.process.terminate()

    def _stop_all(self) -> None:
        self._is_stopping = True
        systemd.notify("STOPPING=1")
        for slot in self._slots:
            if slot.retry is not None:
                slot.retry.cancel()
        for process in self._processes:
            if process.phase is not Phase.ENDING:
                self._end(process)
        self._changed.set()

    def _on_stop(self, number: int) -> None:
        if self.signal is None:
            self.signal = number
            log.info("Stopping: workers finish what is under way")
            self._stop_all()
            return
        now = asyncio.get_running_loop().time()
        for process in self._processes:
            process.channel.send("abort")
            process.kill_at = min(process.kill_at, now + _AFTER_ABORT)

    # ---- what is told ------------------------------------------------------------------------

    def measure(self) -> list[metrics.Worker]:
        """Each slot's, those of its workers together that are gone, serve and end."""
        found = []
        for slot in self._slots:
            counts, resident = slot.counted, None
            for process in self._processes:
                if process.slot is slot:
                    counts = metrics.added(counts, process.counts)
                    resident = (resident or 0) + (process.resident or 0)
            found.append(metrics.Worker(str(slot.index), counts, resident, dict(slot.restarts)))
        return found


def supervise(app: Any, config: Config, count: int) -> int | None:
    """Run workers until a signal, which is returned.

    Raises ServerError, or SystemExit with the worker's exit status, where they can't be started.
    """
    if config.reload:
        from .reloader import Reloader

        supervisor: Supervisor = Reloader(app, config)
    else:
        supervisor = Supervisor(app, config, count)
    run(supervisor.run())
    if supervisor.failure is not None:
        raise ServerError(supervisor.failure)
    if supervisor.status is not None:
        raise SystemExit(supervisor.status)
    return supervisor.signal
