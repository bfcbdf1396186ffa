"""inspect.signature() and help() of the loop's methods, for documentation and wrappers."""

import asyncio
import inspect

import pytest

METHODS = sorted(name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("_"))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_signature(loop, name):
    names = [*inspect.signature(getattr(asyncio.AbstractEventLoop, name)).parameters][1:]
    parameters = inspect.signature(getattr(loop, name)).parameters
    # Beside those that AbstractEventLoop knows, a loop may have more.
    positional = [n for n in names if n in parameters]
    assert positional or not names
    assert [n for n in parameters if n in positional] == positional


@pytest.mark.penstock_only("the standard library leaves some to AbstractEventLoop")
@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_does(loop, name):
    assert getattr(loop, name).__doc__
