from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from . import suite


@pytest.fixture(autouse=True)
def _no_fd_is_left():
    """Not asked here: processes that run other modules come and go during a test."""


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[suite.Report]]]:
    """On the modules whose tests were selected; two run at a time."""
    selected = [
        item.callspec.params["module"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_on_penstock"
    ]
    with ThreadPoolExecutor(suite.AT_A_TIME) as pool:
        yield {module: pool.submit(suite.run, module, "penstock") for module in selected}
        pool.shutdown(cancel_futures=True)
