"""penstock over io_uring, where the kernel has it; else over epoll, as `penstock doctor` tells."""

import os

from . import Main, Result, on_penstock

_BACKEND = "import os; os.environ['PENSTOCK_BACKEND'] = 'uring'; "
IMPORT = _BACKEND + on_penstock.IMPORT
RUN = on_penstock.RUN


def run(main: Main[Result]) -> Result:
    os.environ["PENSTOCK_BACKEND"] = "uring"
    return on_penstock.run(main)
