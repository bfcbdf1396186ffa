import penstock
import pytest


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio", {"loop_factory": penstock.new_event_loop}
