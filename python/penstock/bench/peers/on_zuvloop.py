"""Zig over libuv, for CPython 3.14 and later."""

from . import Main, Result, factory_of, run_on

IMPORT = "import asyncio, zuvloop"
RUN = "with asyncio.Runner(loop_factory=zuvloop.new_event_loop) as runner: runner.run(main())"


def run(main: Main[Result]) -> Result:
    return run_on(factory_of("zuvloop"), main)
