"""install, uninstall, run, the policy. Each in a process of its own: names of asyncio change."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import weakref

import penstock
import pytest


def run_python(source, *options, returncode=0):
    ran = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == returncode, ran.stderr
    return ran.stdout + ran.stderr


NAMES = """
import asyncio, penstock, penstock._core as _core

def names():
    modules = [asyncio, asyncio.events, asyncio.tasks, asyncio.futures, asyncio.unix_events]
    policy = asyncio.unix_events._UnixDefaultEventLoopPolicy
    return [dict(vars(module)) for module in modules] + [dict(vars(policy))]

def is_ours(loop):
    loop.close()
    return type(loop) is penstock.Loop
"""


def test_install_and_uninstall():
    source = """
        assert not is_ours(asyncio.new_event_loop())
        before = names()
        penstock.install()
        installed = names()
        penstock.install()
        assert names() == installed

        assert asyncio.Task is asyncio.tasks.Task is penstock.Task
        assert asyncio.Future is asyncio.futures.Future is penstock.Future
        assert asyncio.sleep is asyncio.tasks.sleep is _core.sleep
        assert asyncio.create_task is asyncio.tasks.create_task is _core.create_task
        assert is_ours(asyncio.new_event_loop())
        assert is_ours(asyncio.events.new_event_loop())

        async def main():
            assert type(asyncio.get_running_loop()) is penstock.Loop
            assert type(asyncio.current_task()) is penstock.Task
            assert type(asyncio.create_task(asyncio.sleep(0))) is penstock.Task
            assert await asyncio.sleep(0, "slept") == "slept"
            assert await asyncio.gather(asyncio.sleep(0.01, 1), asyncio.sleep(0, 2)) == [1, 2]
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(0, 3))
            assert task.result() == 3

        asyncio.run(main())
        with asyncio.Runner() as runner:
            runner.run(main())

        penstock.uninstall()
        assert names() == before
        penstock.uninstall()
        assert names() == before
        assert not is_ours(asyncio.new_event_loop())
    """
    assert run_python(NAMES + textwrap.dedent(source), "-W", "error") == ""


def test_every_name_that_it_replaces_is_penstocks_too():
    source = """
        import sys

        def names():
            modules = [name for name in sys.modules if name.partition(".")[0] == "asyncio"]
            return {(module, name): what for module in modules
                    for name, what in vars(sys.modules[module]).items()}

        before = names()
        penstock.install()
        installed = names()
        replaced = {key: what for key, what in installed.items() if what is not before.get(key)}
        penstock.uninstall()
        assert names() == before

        public = {name for _, name in replaced if not name.startswith("_")}
        assert {"Lock", "Condition", "Barrier", "Queue", "StreamReader", "sleep"} <= public
        penstock.EventLoop = penstock.Loop
        for (module, name), what in replaced.items():
            if name in public - {"SelectorEventLoop"}:
                assert what is getattr(penstock, name), (module, name)
    """
    assert run_python(NAMES + textwrap.dedent(source), "-W", "error") == ""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_eager_tasks():
    source = """
        stock = asyncio.eager_task_factory
        penstock.install()
        assert asyncio.eager_task_factory is asyncio.tasks.eager_task_factory is not stock
        assert asyncio.eager_task_factory is penstock.eager_task_factory

        async def value(of):
            return of

        async def main(factory):
            asyncio.get_running_loop().set_task_factory(factory)
            now = asyncio.create_task(value("at once"), name="mine")
            soon = asyncio.create_task(asyncio.sleep(0, "soon"))
            assert now.done() and now.get_name() == "mine" and not soon.done()
            assert await now == "at once" and await soon == "soon"
            return type(now)

        assert asyncio.run(main(asyncio.eager_task_factory)) is penstock.Task
        ours = asyncio.create_eager_task_factory(asyncio.Task)
        assert asyncio.run(main(ours)) is penstock.Task
        assert asyncio.run(main(stock)) is penstock._core.Task.__base__
        penstock.uninstall()
        assert asyncio.eager_task_factory is asyncio.tasks.eager_task_factory is stock
    """
    assert run_python(NAMES + textwrap.dedent(source)) == ""


def test_names_imported_before_go_on_working():
    source = """
        import asyncio
        from asyncio import Future, Task, create_task, gather, new_event_loop, run, sleep
        import penstock

        penstock.install()

        async def main():
            assert type(asyncio.get_running_loop()) is penstock.Loop
            task = create_task(sleep(0.01, "slept"))
            assert isinstance(task, Task)
            assert await task == "slept"
            assert await gather(sleep(0, 1), asyncio.sleep(0, 2)) == [1, 2]
            future = Future()
            asyncio.get_running_loop().call_soon(future.set_result, 5)
            assert await future == 5

        run(main())
        loop = new_event_loop()
        assert type(loop) is penstock.Loop
        loop.close()
    """
    assert run_python(source, "-W", "error") == ""


def test_the_current_loop_of_each_thread_is_kept():
    source = """
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        penstock.install()
        assert asyncio.get_event_loop() is loop
        loop.close()
        asyncio.set_event_loop(None)
        assert is_ours(asyncio.new_event_loop())
    """
    assert run_python(NAMES + textwrap.dedent(source)) == ""


def test_policies():
    source = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        penstock.install()

        asyncio.set_event_loop_policy(None)
        assert is_ours(asyncio.new_event_loop())

        class Own(asyncio.DefaultEventLoopPolicy):
            pass

        asyncio.set_event_loop_policy(Own())
        assert is_ours(asyncio.new_event_loop())

        class Stock(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return asyncio.unix_events._UnixSelectorEventLoop()

        asyncio.set_event_loop_policy(Stock())
        assert not is_ours(asyncio.new_event_loop())
        penstock.uninstall()

        # What was asked for before install() is overruled, and comes back.
        class Stock(asyncio.DefaultEventLoopPolicy):
            _loop_factory = asyncio.unix_events._UnixSelectorEventLoop

        mine = Stock()
        asyncio.set_event_loop_policy(mine)
        penstock.install()
        assert is_ours(asyncio.new_event_loop())
        penstock.uninstall()
        assert asyncio.get_event_loop_policy() is mine
    """
    assert run_python(NAMES + textwrap.dedent(source)) == ""


def test_the_selector_loop():
    source = """
        import selectors
        stock = asyncio.unix_events._UnixSelectorEventLoop
        penstock.install()
        assert is_ours(asyncio.SelectorEventLoop())
        assert is_ours(asyncio.unix_events.SelectorEventLoop())
        assert is_ours(asyncio.Runner(loop_factory=asyncio.SelectorEventLoop).get_loop())

        loop = asyncio.SelectorEventLoop(selectors.PollSelector())
        assert type(loop) is stock
        assert isinstance(loop, asyncio.SelectorEventLoop)
        loop.close()

        class Own(asyncio.SelectorEventLoop):
            def time(self):
                return 5 + super().time()

        assert Own.__mro__[1] is stock
        assert issubclass(Own, asyncio.SelectorEventLoop)
        assert issubclass(penstock.Loop, asyncio.SelectorEventLoop)
        loop = Own()
        assert isinstance(loop, asyncio.SelectorEventLoop)
        loop.close()
        assert asyncio.SelectorEventLoop._run_once is stock._run_once
        penstock.uninstall()
        assert asyncio.SelectorEventLoop is stock
    """
    assert run_python(NAMES + textwrap.dedent(source)) == ""


def test_a_name_that_somebody_replaced_since_is_left_to_them():
    source = """
        penstock.install()
        asyncio.sleep = theirs = object()
        penstock.uninstall()
        assert asyncio.sleep is theirs
    """
    assert run_python(NAMES + textwrap.dedent(source)) == ""


def test_importing_warns_of_nothing():
    assert run_python("import penstock; penstock.Loop().close()", "-W", "error") == ""


def test_debug_mode_comes_from_the_environment():
    source = "import penstock; loop = penstock.Loop(); print(loop.get_debug()); loop.close()"
    assert run_python(source) == "False\n"
    assert run_python(source, "-X", "dev") == "True\n"


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="policies are gone")
def test_the_policy():
    source = """
        import asyncio, warnings
        import penstock
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(penstock.EventLoopPolicy())

        async def main():
            return type(asyncio.get_running_loop())

        assert asyncio.run(main()) is penstock.Loop
        loop = asyncio.new_event_loop()
        assert type(loop) is penstock.Loop
        asyncio.set_event_loop(loop)
        assert asyncio.get_event_loop() is loop
        loop.close()
        asyncio.set_event_loop_policy(None)
        assert asyncio.run(main()) is not penstock.Loop
    """
    assert run_python(source) == ""


class TestRun:
    def test_it_returns_and_raises(self):
        async def main():
            assert type(asyncio.get_running_loop()) is penstock.Loop
            await asyncio.sleep(0)
            return "result"

        async def fail():
            raise ValueError("no")

        assert penstock.run(main()) == "result"
        with pytest.raises(ValueError, match="^no$"):
            penstock.run(fail())

    def test_debug(self):
        async def main():
            return asyncio.get_running_loop().get_debug()

        assert penstock.run(main(), debug=True) is True
        assert penstock.run(main(), debug=False) is False

    def test_it_cleans_up(self):
        ended = []

        async def endless():
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(True)

        async def main():
            task = asyncio.create_task(endless())
            await asyncio.sleep(0)
            return asyncio.get_running_loop(), task

        loop, task = penstock.run(main())
        assert loop.is_closed()
        assert task.cancelled()
        assert ended == [True]

    def test_not_within_a_loop(self):
        async def main():
            coroutine = asyncio.sleep(0)
            with pytest.raises(
                RuntimeError, match=r"^penstock.run\(\) cannot be called from a running event loop$"
            ):
                penstock.run(coroutine)
            await coroutine

        penstock.run(main())

    def test_what_is_no_coroutine(self):
        with pytest.raises((TypeError, ValueError)):
            penstock.run(5)


class TestRunner:
    def test_one_loop_for_all_it_runs(self):
        async def main():
            return asyncio.get_running_loop()

        with penstock.Runner(debug=True) as runner:
            assert isinstance(runner, asyncio.Runner)
            loop = runner.run(main())
            assert type(loop) is penstock.Loop
            assert loop is runner.get_loop() is runner.run(main())
            assert loop.get_debug()
        assert loop.is_closed()
        with pytest.raises(RuntimeError, match="^Runner is closed$"):
            runner.get_loop()

    @pytest.mark.parametrize("cls", [asyncio.Runner, penstock.Runner])
    def test_its_loop_is_the_current_one(self, cls):
        with cls() as runner:
            runner.run(asyncio.sleep(0))
            assert asyncio.get_event_loop() is runner.get_loop()
        with pytest.raises(RuntimeError, match="There is no current event loop"):
            asyncio.get_event_loop()

    @pytest.mark.parametrize("cls", [asyncio.Runner, penstock.Runner])
    def test_a_factory_of_the_programs(self, cls):
        with cls(loop_factory=asyncio.unix_events._UnixSelectorEventLoop) as runner:
            assert type(runner.get_loop()) is asyncio.unix_events._UnixSelectorEventLoop

    def test_no_cycle_is_left(self):
        runner = penstock.Runner()
        with runner:
            runner.run(asyncio.sleep(0))
        died = weakref.ref(runner)
        del runner
        assert died() is None


class TestWithoutInstall:
    """asyncio's functions, by penstock's names, on penstock's futures and tasks."""

    def test_shield(self):
        async def main():
            inner = penstock.create_task(penstock.sleep(0, "slept"))
            outer = penstock.shield(inner)
            assert type(inner) is penstock.Task
            assert type(outer) is penstock.Future
            outer.cancel()
            assert await inner == "slept"
            assert outer.cancelled()

        penstock.run(main())

    def test_wait_and_as_completed(self):
        async def main():
            tasks = [penstock.create_task(penstock.sleep(0, i)) for i in range(3)]
            done, pending = await penstock.wait(tasks)
            assert done == set(tasks)
            assert not pending
            results = [await each for each in penstock.as_completed(tasks)]
            assert sorted(results) == [0, 1, 2]

        penstock.run(main())

    def test_to_thread(self):
        async def main():
            return await penstock.to_thread(threading.get_ident)

        assert penstock.run(main()) != threading.get_ident()

    def test_they_are_asyncios(self):
        for name in ("wait", "as_completed", "shield", "to_thread", "BrokenBarrierError"):
            assert getattr(penstock, name) is getattr(asyncio, name)


def test_public_names():
    eager = ["eager_task_factory"] if sys.version_info >= (3, 12) else []
    assert penstock.__all__ == sorted(set(penstock.__all__) - set(eager)) + eager
    for name in penstock.__all__:
        assert getattr(penstock, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        penstock.nothing  # noqa: B018


def test_nothing_of_the_abstract_loop_is_left_out():
    abstract = asyncio.AbstractEventLoop
    missing = [
        name
        for name, member in vars(abstract).items()
        if callable(member) and getattr(penstock.Loop, name) is member
    ]
    assert missing == []


def test_nothing_public_of_the_stock_loop_is_missing():
    stock = asyncio.unix_events._UnixSelectorEventLoop
    public = {name for name in dir(stock) if not name.startswith("_")}
    assert public - set(dir(penstock.Loop)) == set()
