"""`penstock serve --reload`: one worker, started anew when a file changes.

The files' times are looked at, which works on every file system and needs nothing. The sockets are
the supervisor's: who connects meanwhile waits for the new worker. The one before ends first, for
two may not get along: a debugger's port, a lock on a development database.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
from typing import Any

from .config import Config
from .slots import Phase, Process, Slot
from .supervisor import Supervisor, log

_GRACE = 2.0  # seconds for what is under way
_IGNORED = {"__pycache__", "node_modules"}

State = dict[str, tuple[int, int]]  # of files: time and size


class Watched:
    """The files that count: *.py and what the options include, in the directories they name."""

    def __init__(self, config: Config) -> None:
        self._roots = [
            os.path.abspath(each) for each in config.reload_dir or (config.app_dir or ".",)
        ]
        self._include = ("*.py", *config.reload_include)
        self._exclude = config.reload_exclude

    def look(self) -> State:
        found: State = {}
        for root in self._roots:
            for directory, directories, files in os.walk(root):
                directories[:] = [
                    each for each in directories if self._is_entered(directory, each, root)
                ]
                for name in files:
                    path = os.path.join(directory, name)
                    if self._is_watched(path, name, root):
                        _add(found, path)
        return found

    def _is_entered(self, parent: str, name: str, root: str) -> bool:
        path = os.path.join(parent, name)
        is_environment = os.path.exists(os.path.join(path, "pyvenv.cfg"))
        is_hidden = name.startswith(".") or name in _IGNORED
        return not (is_hidden or is_environment or _matches(path, name, root, self._exclude))

    def _is_watched(self, path: str, name: str, root: str) -> bool:
        if _matches(path, name, root, self._exclude):
            return False
        return _matches(path, name, root, self._include)


def _matches(path: str, name: str, root: str, patterns: tuple[str, ...]) -> bool:
    relative = os.path.relpath(path, root)
    return any(
        fnmatch.fnmatch(name, each)
        or fnmatch.fnmatch(relative, each)
        or path == os.path.abspath(each)
        for each in patterns
    )


def _add(found: State, path: str) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return  # it has just gone, or points nowhere
    found[path] = status.st_mtime_ns, status.st_size


class Reloader(Supervisor):
    """A supervisor of one worker, which watches files as well."""

    def __init__(self, app: Any, config: Config) -> None:
        super().__init__(app, config, 1)
        self._watched = Watched(config)
        self._restarts = False

    async def _watch(self) -> None:
        looking = asyncio.get_running_loop().create_task(self._look(), name="penstock-reload")
        try:
            await super()._watch()
        finally:
            looking.cancel()

    async def _look(self) -> None:
        before = await asyncio.to_thread(self._watched.look)
        while True:
            await asyncio.sleep(self.config.reload_delay)
            now = await asyncio.to_thread(self._watched.look)
            changed = sorted(path for path, _ in now.items() ^ before.items())
            before = now
            if changed and not self._is_stopping:
                log.warning("%s has changed: reloading", os.path.relpath(changed[0]))
                self.reload()

    def reload(self) -> None:
        """End the worker, and start another."""
        slot = self._slots[0]
        process = slot.serving
        if process is None:
            self._start_vacant(slot)
        elif process.phase is Phase.STARTING:
            process.phase = Phase.ENDING
            process.process.kill()
            self._restarts = True
        else:
            self._end(process, _GRACE)
            self._restarts = True

    def _on_end(self, process: Process) -> None:
        super()._on_end(process)
        if self._restarts and process.slot.serving is None:
            self._restarts = False
            self._start_vacant(process.slot)

    def _on_vacant(self, slot: Slot, process: Process, was_starting: bool) -> None:
        """Whoever works on the code mends it: nothing is tried again before."""
        if process.phase is Phase.ENDING:
            return
        if was_starting and process.failure and not self._has_served:
            self._give_up(process)
            return
        log.warning("Waiting for a file to change")
