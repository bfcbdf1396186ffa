"""Cython over libuv."""

from . import Main, Result, factory_of, run_on

IMPORT = "import asyncio, uvloop"
RUN = "with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: runner.run(main())"


def run(main: Main[Result]) -> Result:
    return run_on(factory_of("uvloop"), main)
