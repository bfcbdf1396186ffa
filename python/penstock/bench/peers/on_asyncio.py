"""The standard library's loop, over epoll."""

import asyncio

from . import Main, Result, run_on

IMPORT = "import asyncio"
RUN = "asyncio.run(main())"


def run(main: Main[Result]) -> Result:
    return run_on(asyncio.SelectorEventLoop, main)
