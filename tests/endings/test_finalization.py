"""What the interpreter's end finds: objects that die late, and code that uses the loop then."""

import pytest

# In a module's globals, a builtin module's, a cycle: each dies at another time.
HOLDERS = {
    "globals": "globals().update(kept=kept)",
    "module": "import types; sys.modules['kept'] = types.ModuleType('kept'); "
    "sys.modules['kept'].kept = kept",
    "sys": "sys.kept = kept",
    "builtins": "import builtins; builtins.kept = kept",
    "cycle": "kept.append(kept)",
    "atexit": "atexit.register(lambda kept: None, kept)",
    "context": "import contextvars; contextvars.ContextVar('kept').set(kept)",
    "thread": "threading.local().kept = kept",
    "type": "type('Kept', (), dict(kept=kept))",
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_everything_dies_late(ends, holder):
    ends(f"""
        loop = new_loop()
        async def nothing():
            await asyncio.sleep(60)
        async def main():
            server = await asyncio.start_server(print, "127.0.0.1", 0)
            kept = [loop, await connection(), server, loop.create_future(), loop.call_soon(int),
                    loop.call_later(60, int), loop.create_task(nothing()),
                    asyncio.current_task(), asyncio.sleep, new_loop()]
            kept[3].add_done_callback(kept.append)
            loop.call_later(60, kept.append)
            await asyncio.sleep(0)
            {HOLDERS[holder]}
        loop.run_until_complete(main())
        del loop
    """)


def test_what_dies_uses_what_dies_with_it(ends):
    ends("""
        loop = new_loop()
        class Uses:
            def __init__(self, *things):
                self.things = things
                self.itself = self
            def __del__(self):
                loop, transport, far, future, task, handle = self.things
                for use in (lambda: loop.call_soon(int), lambda: loop.call_later(1, int),
                            lambda: loop.call_soon_threadsafe(int), lambda: loop.create_future(),
                            lambda: loop.add_reader(far, int), lambda: loop.remove_reader(far),
                            lambda: transport.write(b"late"), lambda: transport.close(),
                            lambda: transport.abort(), lambda: future.cancel(),
                            lambda: future.add_done_callback(int), lambda: future.set_result(1),
                            lambda: task.cancel(), lambda: task.get_stack(), lambda: repr(task),
                            lambda: handle.cancel(), lambda: loop.stop(), lambda: repr(loop),
                            lambda: loop.close(), lambda: loop.time()):
                    try:
                        use()
                    except Exception:
                        pass
        async def main():
            transport, far = await connection()
            task = loop.create_task(asyncio.Event().wait())
            await asyncio.sleep(0)
            future = loop.create_future()
            handle = loop.call_later(60, print)
            uses = Uses(loop, transport, far, future, task, handle)
            future.add_done_callback(lambda future, uses=uses: None)
        loop.run_until_complete(main())
        del loop
    """)


def test_resurrected(ends):
    ends("""
        kept = []
        class Returns:
            def __init__(self, *things):
                self.things = things
                self.itself = self
            def __del__(self, keep=kept.append):
                keep(self)
        loop = new_loop()
        async def main():
            transport, far = await connection()
            future = loop.create_future()
            returns = Returns(loop, transport, far, future, asyncio.current_task())
            loop.call_later(60, print, returns)
            future.add_done_callback(lambda _, returns=returns: None)
        loop.run_until_complete(main())
        gc.collect()
        del loop
    """)


def test_weak_references_call_back(ends):
    ends(
        """
        loop = new_loop()
        def died(ref, loop=loop):
            try:
                loop.call_soon(int)
            except RuntimeError:
                pass
        async def main():
            transport, far = await connection()
            task = loop.create_task(asyncio.sleep(60))
            future = loop.create_future()
            await asyncio.sleep(0)
            globals().update(kept=[transport, far, task, future])
            globals().update(refs=[weakref.ref(each, died) for each in (transport, task, future)])
        loop.run_until_complete(main())
        weakref.finalize(loop, print, "the loop")
        """,
        output="the loop\n",
    )


class TestAtExit:
    def test_the_loop_runs(self, ends):
        ends(
            """
            loop = new_loop()
            async def main():
                await asyncio.sleep(0.001)
                print("ran")
            @atexit.register
            def at_exit():
                loop.run_until_complete(main())
                loop.close()
            """,
            output="ran\n",
        )

    def test_a_new_loop_runs(self, ends):
        ends(
            """
            async def main():
                transport, far = await connection()
                assert await asyncio.get_running_loop().create_task(asyncio.sleep(0, True))
                far.close()
                transport.close()
                print("ran")
            atexit.register(lambda: run(main()))
            """,
            output="ran\n",
        )

    def test_the_loop_is_closed(self, ends):
        ends("""
            loop = new_loop()
            kept = loop.run_until_complete(connection())
            atexit.register(kept[1].close)
            atexit.register(loop.close)
            kept[0].close()
        """)

    def test_there_are_no_more_threads(self, ends):
        ends(
            """
            async def main():
                try:
                    await asyncio.to_thread(int)
                except RuntimeError as error:
                    print("refused")
            atexit.register(lambda: run(main()))
            """,
            output="refused\n",
        )

    def test_look_ups_need_no_thread_of_pythons(self, start, finish):
        """asyncio's need one, which is refused by then."""
        source = """
            async def main():
                print(len(await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)) > 0)
            atexit.register(lambda: run(main()))
        """
        assert finish(start("penstock", source)) == (0, "True\n", set())


class TestLateCallback:
    """__del__ of what is older than the loop's modules, when nothing can be imported any more."""

    @pytest.mark.parametrize("made", ["early", "late"])
    def test_of_a_loop_in_debug_mode(self, start, finish, made):
        """asyncio can't close a loop by then, in CPython 3.13."""
        source = f"""
            class Late:
                def __init__(self):
                    self.early = new_loop()
                    self.make, self.write = new_loop, os.write
                def __del__(self):
                    loop = self.early if {made == "early"} else self.make()
                    loop.set_debug(True)
                    loop.call_soon(loop.stop)
                    loop.call_later(60, loop.stop)
                    loop.call_soon_threadsafe(int)
                    future = loop.create_future()
                    future.add_done_callback(lambda _: self.write(1, b"ran"))
                    future.set_result(None)
                    loop.run_forever()
                    loop.close()
                    self.early.close()
            import builtins
            builtins.late = Late()
        """
        assert finish(start("penstock", source)) == (0, "ran", set())


class TestImport:
    """penstock is imported for the first loop, at an odd time."""

    MAIN = """
async def main():
    await asyncio.sleep(0.001)
    print("ran", flush=True)
"""

    def test_in_a_thread(self, ends):
        started = "threading.Thread(target=lambda: run(main())).start()"
        ends(self.MAIN + started, output="ran\n", late=True)

    def test_in_a_daemon_thread_that_never_ends(self, ends):
        source = """
            started = threading.Event()
            async def main():
                started.set()
                await asyncio.sleep(60)
            threading.Thread(target=lambda: run(main()), daemon=True).start()
            started.wait()
        """
        ends(source, late=True)

    def test_at_exit(self, ends):
        ends(self.MAIN + "atexit.register(lambda: run(main()))", output="ran\n", late=True)

    def test_as_the_process_ends(self, start, finish):
        """Whatever is too late for it, it is an exception."""
        source = """
            class Late:
                def __del__(self, new_loop=new_loop, write=os.write):
                    try:
                        new_loop().close()
                    except Exception:
                        write(1, b"refused")
            import builtins
            builtins.late = Late()
        """
        for options in [(), ("-X", "dev")]:
            ending = finish(start("penstock", source, *options, late=True))
            assert ending == (0, "refused", set())

    def test_in_between(self, ends):
        """The main thread leaves while another imports."""
        source = "threading.Thread(target=lambda: new_loop().close(), daemon=True).start()"
        ends(source, late=True)
