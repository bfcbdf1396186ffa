"""Rust over mio: no TLS, no Unix sockets."""

from . import Main, Result, factory_of, run_on

IMPORT = "import asyncio, rloop"
RUN = "with asyncio.Runner(loop_factory=rloop.new_event_loop) as runner: runner.run(main())"


def run(main: Main[Result]) -> Result:
    return run_on(factory_of("rloop"), main)
