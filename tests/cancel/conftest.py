import pytest

from .company import Company


@pytest.fixture
def company(new_loop):
    with Company(new_loop) as company:
        yield company
