import pytest


@pytest.fixture(autouse=True)
def _no_fd_is_left():
    """Not asked here: processes that run other modules come and go during a test."""
