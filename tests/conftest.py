"""Every test that runs a loop runs twice, on asyncio and on penstock: asyncio is the oracle.

`loop` is a loop that is closed afterwards, `run` runs a coroutine as asyncio.run() would,
`new_loop` makes loops. An
async test runs in a runner of its own. Where asyncio learnt a behaviour in a later version of
CPython than the oldest we support, `@pytest.mark.asyncio_since(3, 12)` keeps the oracle out below
that, and `asyncio_until` from there on where it has lost one; where no version does what ours does,
`@pytest.mark.penstock_only("why")` does. `task_since` is `asyncio_since` for what the Task does,
which is the stock one in both where PENSTOCK_STOCK_TASK is set.
"""

import asyncio
import gc
import inspect
import sys
import time

import penstock
import pytest

from tests.descriptors import open_fds

FACTORIES = {
    "asyncio": asyncio.unix_events._UnixSelectorEventLoop,
    "penstock": penstock.new_event_loop,
}


def pytest_addoption(parser):
    parser.addoption("--loop", choices=FACTORIES, help="run tests on this one's loop only")


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--loop")
    if wanted is None:
        return
    others = [
        item
        for item in items
        if hasattr(item, "callspec") and item.callspec.params.get("new_loop", wanted) != wanted
    ]
    config.hook.pytest_deselected(items=others)
    left_out = set(others)
    items[:] = [item for item in items if item not in left_out]


def pytest_configure(config):
    config.addinivalue_line("markers", "asyncio_since(major, minor, micro): when asyncio got it")
    config.addinivalue_line("markers", "asyncio_until(major, minor): when asyncio lost it")
    config.addinivalue_line("markers", "task_since(major, minor): when the stock Task got it")
    config.addinivalue_line("markers", "penstock_only(reason): asyncio is no oracle here")
    config.addinivalue_line("markers", "memory: measures or limits memory; not under ASan")


@pytest.fixture(autouse=True)
def _no_fd_is_left():
    gc.freeze()  # what is older is not the test's, and not looked through again
    before = open_fds()
    yield
    gc.collect()
    # A thread of the resolver may be reading /etc/hosts yet, for whom nobody waits any more.
    deadline = time.monotonic() + 5
    while (left := open_fds()) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == before, "descriptors differ after the test"


@pytest.fixture
def fds():
    return open_fds


@pytest.fixture(params=FACTORIES)
def new_loop(request):
    since = request.node.get_closest_marker("asyncio_since")
    if since and request.param == "asyncio" and sys.version_info < since.args:
        pytest.skip("this version of asyncio does not do that yet")
    until = request.node.get_closest_marker("asyncio_until")
    if until and request.param == "asyncio" and sys.version_info >= until.args:
        pytest.skip("this version of asyncio does not do that any more")
    task = request.node.get_closest_marker("task_since")
    is_stock = request.param == "asyncio" or not penstock._core.native_task
    if task and is_stock and sys.version_info < task.args:
        pytest.skip("this version's stock Task does not do that yet")
    ours = request.node.get_closest_marker("penstock_only")
    if ours and request.param == "asyncio":
        pytest.skip(*ours.args)
    return FACTORIES[request.param]


@pytest.fixture
def loop(new_loop):
    loop = new_loop()
    yield loop
    loop.close()


@pytest.fixture
def run(new_loop):
    def run(main, **options):
        with asyncio.Runner(loop_factory=new_loop, **options) as runner:
            return runner.run(main)

    return run


def pytest_pycollect_makeitem(collector, name, obj):
    if collector.istestfunction(obj, name) and inspect.iscoroutinefunction(obj):
        pytest.mark.usefixtures("new_loop")(obj)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    with asyncio.Runner(loop_factory=pyfuncitem.funcargs["new_loop"]) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True
