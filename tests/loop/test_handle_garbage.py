"""What handles hold is garbage once nobody else holds it: while the loop runs, and after it."""

import contextvars
import gc
import warnings
import weakref

import pytest

variable = contextvars.ContextVar("variable", default=None)


class Owner:
    """Holds a handle that holds it, by the callback and by the context."""

    def __init__(self, schedule):
        context = contextvars.copy_context()
        context.run(variable.set, self)
        self.handle = schedule(self.callback, context=context)

    def callback(self):
        pass


def call_soon(loop):
    return loop.call_soon


def call_at_once(loop):
    return lambda callback, context: loop.call_at(0, callback, context=context)


def call_later(loop):
    return lambda callback, context: loop.call_later(3600, callback, context=context)


def done_callback(loop):
    """The handle is what the loop makes of it; nobody holds that."""

    def schedule(callback, context):
        future = loop.create_future()
        future.set_result(None)
        future.add_done_callback(lambda _: callback(), context=context)

    return schedule


def turns(loop, count):
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


def dead(loop, owner):
    turns(loop, 3)  # what has run last may be held until the next has
    gc.collect()
    return owner() is None


@pytest.mark.parametrize("schedule", [call_soon, call_at_once, done_callback])
@pytest.mark.parametrize("in_a_run", [False, True])
def test_one_that_has_run(loop, schedule, in_a_run):
    made = []

    def make():
        made.append(weakref.ref(Owner(schedule(loop))))

    if in_a_run:
        loop.call_soon(make)
    else:
        make()
    turns(loop, 3)
    assert dead(loop, *made)


def test_one_that_has_run_while_the_loop_goes_on(loop):
    seen = []

    def make():
        owner = weakref.ref(Owner(loop.call_soon))
        loop.call_soon(loop.call_soon, look, owner)

    def look(owner):
        gc.collect()
        seen.append(owner())
        loop.stop()

    loop.call_soon(make)
    loop.run_forever()
    assert seen == [None]


@pytest.mark.parametrize("count", [1, 300])
def test_one_that_is_cancelled(loop, count):
    """So many that they leave the heap of timers, and so few that it is left to close()."""
    made = []

    def make():
        for _ in range(count):
            owner = Owner(call_later(loop))
            owner.handle.cancel()
            made.append(weakref.ref(owner))

    loop.call_soon(make)
    turns(loop, 3)
    loop.close()
    gc.collect()
    assert {owner() for owner in made} == {None}


@pytest.mark.parametrize("schedule", [call_soon, call_later])
@pytest.mark.parametrize("closes", [False, True])
def test_one_that_the_loop_ends_before(new_loop, schedule, closes):
    loop = new_loop()
    made = []

    def make(loop):
        owner = Owner(schedule(loop))
        owner.loop = loop
        made.append(weakref.ref(owner))
        loop.stop()

    loop.call_soon(make, loop)
    loop.run_forever()
    if closes:
        loop.close()
    del loop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    assert made[0]() is None


@pytest.mark.penstock_only("asyncio's are tracked for life")
@pytest.mark.parametrize("schedule", [call_soon, call_later])
def test_the_collector_leaves_a_running_loops_alone(loop, schedule):
    tracked = []

    def make():
        owner = Owner(schedule(loop))
        tracked.append(gc.is_tracked(owner.handle))
        loop.stop()
        return owner

    loop.call_soon(lambda: tracked.append(make()))
    loop.run_forever()
    assert tracked[0] is False
    assert gc.is_tracked(tracked[1].handle)
