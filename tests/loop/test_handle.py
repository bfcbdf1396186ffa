"""Handle.get_context(): the very Context that the callback runs in. Source: CPython 3.12."""

import contextvars

import pytest

pytestmark = pytest.mark.asyncio_since(3, 12)

variable = contextvars.ContextVar("variable", default="at first")


@pytest.mark.parametrize("is_kept_after", [False, True])
def test_from_within_the_callback(loop, is_kept_after):
    seen = []

    def callback():
        context = handle.get_context()
        variable.set("set by the callback")
        assert context[variable] == "set by the callback"
        with pytest.raises(RuntimeError, match="cannot enter context"):
            context.run(int)
        assert handle.get_context() is context
        if is_kept_after:
            seen.append(context)

    handle = loop.call_soon(callback)
    loop.call_soon(lambda: seen.append(variable.get()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen[-1] == "at first"
    assert handle.get_context()[variable] == "set by the callback"
    if is_kept_after:
        assert handle.get_context() is seen[0]


def test_of_the_context_that_was_given(loop):
    context = contextvars.copy_context()
    handle = loop.call_soon(lambda: variable.set("set"), context=context)
    assert handle.get_context() is context
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert handle.get_context() is context
    assert context[variable] == "set"


def test_it_outlives_cancel(loop):
    token = variable.set("when it was scheduled")
    handles = [loop.call_soon(print), loop.call_later(10, print)]
    variable.reset(token)
    for handle in handles:
        handle.cancel()
        assert handle.get_context()[variable] == "when it was scheduled"
