"""`penstock run` owns the process: penstock is installed in it, and in what multiprocessing starts.

A child that is forked has it from its parent. One that is spawned, or that a fork server makes,
begins as a bare interpreter and is sent what it needs to prepare itself before it imports the
program: with that we send it the installation. multiprocessing.spawn is extended when the program
imports it, so that who needs no processes does not pay for it.
"""

import functools
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import penstock
from penstock._install import is_installed

_SPAWN = "multiprocessing.spawn"

# Where penstock can't be imported before sys.path is what the parent's is, the child does without.
_IN_CHILD = """
try:
    from penstock.cli.processes import take_over
except ImportError:
    pass
else:
    take_over()
"""


def take_over() -> None:
    """Install penstock here and in all processes that multiprocessing will start from here."""
    penstock.install()
    if _SPAWN in sys.modules:
        _extend(sys.modules[_SPAWN])
    else:
        sys.meta_path.insert(0, _SpawnFinder)


class _SpawnFinder:
    """Finds multiprocessing.spawn where it is, and extends it once it is executed."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _SPAWN:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec is not None else None
        if loader is None:
            return None
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _extend(module)

        loader.exec_module = exec_module
        return spec


class _Installation:
    """Unpickled, it has taken over the process that it was sent to."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_IN_CHILD, {})


class _InstallingPath(list[str]):
    """What a fork server gets of sys.path, as an expression in its command line.

    Evaluated, it has taken over the server before that preloads the program: 3.13.8 and 3.14.1 were
    the first to do so. Its children would else have what the program imported without penstock.
    """

    def __repr__(self) -> str:
        return f"(exec({_IN_CHILD!r}, {{}}) or {super().__repr__()})"


def _extend(spawn: Any) -> None:
    stock = spawn.get_preparation_data

    @functools.wraps(stock)
    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = stock(name)
        if not is_installed():
            return data
        if name == "ignore":  # what forkserver calls it
            return {**data, "sys_path": _InstallingPath(data["sys_path"])}
        return {"penstock": _Installation(), **data}

    spawn.get_preparation_data = get_preparation_data
