"""Transports and TLS in Cython for a loop of another make: for uvloop, where that is installed."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import cast

from . import Factory, Main, Result, factory_of, run_on

BASE = "uvloop" if importlib.util.find_spec("uvloop") else "asyncio"
IMPORT = f"import asyncio, {BASE}, aiofastnet"
FACTORY = f"aiofastnet.loop_factory({BASE}.new_event_loop)"
RUN = f"with asyncio.Runner(loop_factory={FACTORY}) as runner: runner.run(main())"


def run(main: Main[Result]) -> Result:
    over = cast(Callable[[Factory], Factory], importlib.import_module("aiofastnet").loop_factory)
    return run_on(over(factory_of(BASE)), main)
