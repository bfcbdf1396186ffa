"""`penstock run` against `python`: the same program, the same output, the same exit status."""

import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

# What pip writes into bin/ for the entry point of pyproject.toml.
CONSOLE_SCRIPT = """\
import sys
from penstock.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""

WHO_AM_I = """\
import __main__, sys
print(sorted(vars(__main__)))
for name in ("__name__", "__file__", "__package__", "__doc__", "__cached__", "__builtins__"):
    print(name, repr(globals().get(name, "absent")))
print(__spec__ and (__spec__.name, __spec__.origin, __spec__.parent), type(__loader__))
print(vars(__main__) is globals(), sys.modules["__main__"] is __main__)
print(sys.argv, repr(sys.path[0]), len(sys.path), sys.flags.safe_path)
"""


class Outcome(NamedTuple):
    stdout: str
    stderr: str
    status: int


Both = Callable[..., Outcome]


@pytest.fixture
def console_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    script = tmp_path_factory.mktemp("bin") / "penstock"
    script.write_text(CONSOLE_SCRIPT)
    return script


@pytest.fixture
def launchers(console_script: Path) -> list[list[str]]:
    return [[str(console_script), "run"], ["-m", "penstock", "run"]]


@pytest.fixture
def both(launchers: list[list[str]], tmp_path: Path) -> Both:
    """Runs `python words` and `penstock run words`, demands equal outcomes and returns one."""
    return _comparison(launchers[:1], tmp_path)


@pytest.fixture
def each(launchers: list[list[str]], tmp_path: Path) -> Both:
    """The same for every way to start `penstock run`: they differ in what sys.path[0] was."""
    return _comparison(launchers, tmp_path)


def _comparison(launchers: list[list[str]], directory: Path) -> Both:
    def run(*words: str, options: tuple[str, ...] = (), stdin: str = "", **env: str) -> Outcome:
        def outcome(launcher: list[str]) -> Outcome:
            process = subprocess.run(
                [sys.executable, *options, *launcher, *words],
                input=stdin,
                capture_output=True,
                text=True,
                cwd=directory,
                env={**_environment(), **env},
                timeout=60,
            )
            return Outcome(
                _without_addresses(process.stdout),
                _without_addresses(process.stderr),
                process.returncode,
            )

        expected = outcome([])
        for launcher in launchers:
            assert outcome(launcher) == expected
        return expected

    return run


def _environment() -> dict[str, str]:
    """This process's, with a relative PYTHONPATH made to hold in another directory."""
    path = os.environ.get("PYTHONPATH")
    if not path:
        return dict(os.environ)
    absolute = os.pathsep.join(os.path.abspath(entry) for entry in path.split(os.pathsep))
    return {**os.environ, "PYTHONPATH": absolute}


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]{6,}", "0x…", text)


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    def write(source: str, name: str = "program.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return name

    return write


Write = Callable[..., str]


class TestWhatTheProgramSees:
    def test_script(self, each: Both, program: Write) -> None:
        assert "program.py" in each(program(WHO_AM_I)).stdout

    @pytest.mark.parametrize("name", ["./program.py", "sub/../program.py", "sub/inner.py"])
    def test_script_by_an_odd_path(self, each: Both, program: Write, name: str) -> None:
        program(WHO_AM_I)
        program(WHO_AM_I, "sub/inner.py")
        assert each(name).status == 0

    def test_script_by_its_absolute_path(self, each: Both, program: Write, tmp_path: Path) -> None:
        assert each(str(tmp_path / program(WHO_AM_I))).status == 0

    def test_symbolic_link(self, each: Both, program: Write, tmp_path: Path) -> None:
        program(WHO_AM_I, "real/program.py")
        (tmp_path / "link.py").symlink_to("real/program.py")
        assert "/real" in each("link.py").stdout

    def test_code(self, each: Both) -> None:
        assert "['-c', 'a']" in each("-c", WHO_AM_I, "a").stdout

    def test_code_joined_to_its_option(self, each: Both) -> None:
        assert each("-cprint(1)", "-c").stdout == "1\n"

    def test_module(self, each: Both, program: Write) -> None:
        program(WHO_AM_I, "thing.py")
        assert "thing.py', '-m', 'x']" in each("-m", "thing", "-m", "x").stdout

    def test_package(self, each: Both, program: Write) -> None:
        program("", "package/__init__.py")
        program("from . import part\n" + WHO_AM_I, "package/__main__.py")
        program("print(__name__)", "package/part.py")
        assert "package.part" in each("-mpackage").stdout

    def test_module_is_found_first_where_one_stands(self, each: Both, program: Write) -> None:
        program("import beside; print(beside.__file__)")
        program("", "beside.py")
        assert "beside.py" in each("program.py").stdout

    @pytest.mark.parametrize("name", ["directory", "./directory/", "archive.zip"])
    def test_directory_or_zip(self, each: Both, program: Write, tmp_path: Path, name: str) -> None:
        program(WHO_AM_I + "import beside", "directory/__main__.py")
        program("print(__name__, __file__)", "directory/beside.py")
        with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
            for file in (tmp_path / "directory").glob("*.py"):
                archive.write(file, file.name)
        assert each(name, "a").status == 0

    def test_standard_input(self, each: Both) -> None:
        assert "['-', 'a']" in each("-", "a", stdin=WHO_AM_I).stdout
        assert "['']" in each(stdin=WHO_AM_I).stdout

    def test_bytecode(self, each: Both, program: Write, tmp_path: Path) -> None:
        import py_compile

        py_compile.compile(str(tmp_path / program(WHO_AM_I)), str(tmp_path / "compiled.pyc"))
        assert each("compiled.pyc").status == 0
        (tmp_path / "broken.pyc").write_bytes(b"no magic here at all")
        assert "Bad magic number" in each("broken.pyc").stderr

    def test_safe_path(self, each: Both, program: Write) -> None:
        program(WHO_AM_I, "thing.py")
        each("thing.py", PYTHONSAFEPATH="1")
        each("-c", WHO_AM_I, PYTHONSAFEPATH="1")
        assert each("-m", "thing", PYTHONSAFEPATH="1").status == 1

    def test_arguments_are_passed_untouched(self, each: Both, program: Write) -> None:
        words = ["-h", "--help", "-m", "-c", "--", "-", "", "a b", "--version", "-é"]
        outcome = each(program("import sys; print(sys.argv[1:])"), *words)
        assert outcome.stdout == f"{words}\n"

    def test_interpreter_options_go_before(self, each: Both, program: Write) -> None:
        name = program("import sys; assert False; print(sys.flags.optimize)")
        assert each(name, options=("-O",)).stdout == "1\n"

    def test_source_encoding(self, each: Both, tmp_path: Path) -> None:
        source = "# coding: latin-1\nprint('é')\n"
        (tmp_path / "latin.py").write_bytes(source.encode("latin-1"))
        assert each("latin.py").stdout == "é\n"


class TestHowItEnds:
    @pytest.mark.parametrize("code", ["0", "3", "255", "'why'", "None", "", "2.5", "True", "-1"])
    def test_sys_exit(self, both: Both, program: Write, code: str) -> None:
        both(program(f"import sys; print('out'); sys.exit({code})"))

    @pytest.mark.parametrize(
        "body",
        [
            "def f(): 1 / 0\nf()",
            "raise SystemExit('said') from ValueError()",
            "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('k') from e",
            "try:\n    1 / 0\nexcept Exception as e:\n    raise KeyError('k')",
            "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])",
            "import json\njson.loads('{')",
            "class E(BaseException): pass\nraise E",
            "def (:\n",
            "if 1:\npass\n",
            "x = '\\0'\neval(x)",
            "raise GeneratorExit",
            "def f(): f()\ntry: f()\nexcept RecursionError: print('deep')",
            "import sys\nsys.excepthook = lambda *a: print('hook', *a[:2])\n1 / 0",
            "import sys\ndef h(*a): raise TypeError('hook')\nsys.excepthook = h\n1 / 0",
            "import sys\nsys.excepthook = lambda *a: sys.exit(7)\n1 / 0",
            "import sys\ndel sys.excepthook\n1 / 0",
            "import atexit, sys\n@atexit.register\ndef _(): print(sys.last_value)\n1 / 0",
            "import threading\nthreading.Thread(target=lambda: 1 / 0, name='t').start()",
            "import os\nos.abort",
            "raise KeyboardInterrupt",
            "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
            "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass",
            "import os\nos._exit(5)",
            "import gc\nclass D:\n    def __del__(self): print('gone')\nd = D()",
        ],
    )
    def test_script(self, both: Both, program: Write, body: str) -> None:
        both(program(body))
        both("-c", body)
        both("-", stdin=body)
        both("-m", "program")

    def test_traceback_begins_with_the_program(self, both: Both, program: Write) -> None:
        error = both(program("def f():\n    raise ValueError('no')\nf()\n")).stderr
        assert re.match(r"Traceback.*\n  File \".*/program.py\", line 3, in <module>\n", error)

    def test_traceback_through_the_loop(
        self, launchers: list[list[str]], program: Write, tmp_path: Path
    ) -> None:
        program("""\
            import asyncio

            async def inner():
                raise ValueError("no")

            async def main():
                await asyncio.create_task(inner())

            asyncio.run(main())
        """)

        def error(launcher: list[str]) -> str:
            run = subprocess.run(
                [sys.executable, *launcher, "program.py"],
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env=_environment(),
                timeout=60,
            )
            assert run.returncode == 1
            return _users_frames(run.stderr)

        expected = error([])
        assert expected.count("program.py") == 3
        for launcher in launchers:
            assert error(launcher) == expected

    def test_error_in_a_directory(self, both: Both, program: Write) -> None:
        program("1 / 0", "directory/__main__.py")
        assert both("directory").status == 1

    def test_nothing_to_run(self, both: Both, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert both("absent.py").status == 2
        assert both("absent/absent.py").status == 2
        assert both("empty").status == 1
        assert both("-m", "absent").status == 1
        assert both("-m", "absent.absent").status == 1

    def test_standard_output_is_closed(self, both: Both, program: Write) -> None:
        both(program("import sys; sys.stdout.close(); sys.exit(4)"))


class TestInterrupted:
    def test_control_c(self, launchers: list[list[str]], program: Write, tmp_path: Path) -> None:
        program("""\
            import asyncio

            async def main():
                print("ready", flush=True)
                try:
                    await asyncio.sleep(60)
                finally:
                    print("cleaned up")

            asyncio.run(main())
        """)

        def outcome(launcher: list[str]) -> Outcome:
            process = subprocess.Popen(
                [sys.executable, *launcher, "program.py"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
                env=_environment(),
            )
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=30)
            return Outcome(stdout, _users_frames(stderr), process.returncode)

        expected = outcome([])
        assert expected.stdout == "cleaned up\n"
        assert expected.status == -signal.SIGINT
        for launcher in launchers:
            assert outcome(launcher) == expected

    def test_control_c_at_a_terminal(
        self, launchers: list[list[str]], program: Write, tmp_path: Path
    ) -> None:
        program("import asyncio; print('ready'); asyncio.run(asyncio.sleep(60))")

        def status(launcher: list[str]) -> int:
            pid, terminal = pty.fork()
            if pid == 0:
                os.chdir(tmp_path)
                command = [sys.executable, *launcher, "program.py"]
                os.execve(sys.executable, command, _environment())
            try:
                shown = b""
                while b"ready" not in shown:
                    shown += os.read(terminal, 1024)
                # The loop has been entered once the process sleeps in the kernel.
                while _state(pid) != "S":
                    time.sleep(0.01)
                os.write(terminal, b"\x03")
                while _more(terminal):
                    pass
                return os.waitpid(pid, 0)[1]
            finally:
                os.close(terminal)

        assert os.WTERMSIG(status([])) == signal.SIGINT
        for launcher in launchers:
            assert os.WTERMSIG(status(launcher)) == signal.SIGINT


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _more(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1024)
    except OSError:
        return b""


def _users_frames(traceback: str) -> str:
    """A traceback without the frames of the event loop, where the two differ by nature."""
    lines = traceback.splitlines()
    return "\n".join(
        line
        for line in lines
        if not line.startswith("    ") and ("program.py" in line or not line.startswith("  File"))
    )


class TestStack:
    """Above the program is nothing that `python` would not have there."""

    PROGRAM = """\
        import sys, traceback, warnings
        traceback.print_stack()
        warnings.warn("whose fault?", stacklevel=2)
        def depth():
            try:
                return sys._getframe(3)
            except ValueError as error:
                return error
        print(depth(), sys._getframe().f_back)
        raise LookupError
    """

    def test_a_scripts(self, each: Both, program: Write) -> None:
        shown = each(program(self.PROGRAM))
        assert "None" in shown.stdout and "penstock" not in shown.stderr

    def test_the_code_of_an_option(self, each: Both) -> None:
        assert "penstock" not in each("-c", textwrap.dedent(self.PROGRAM)).stderr

    def test_standard_inputs(self, each: Both) -> None:
        assert "penstock" not in each("-", stdin=textwrap.dedent(self.PROGRAM)).stderr

    def test_a_modules(self, each: Both, program: Write) -> None:
        program(self.PROGRAM)
        assert "runpy" in each("-m", "program").stderr

    def test_a_folders(self, each: Both, program: Write) -> None:
        program(self.PROGRAM, "folder/__main__.py")
        assert "runpy" in each("folder").stderr

    def test_in_the_debugger(self, each: Both, program: Write) -> None:
        name = program("""\
            def function():
                breakpoint()
                return 1
            function()
        """)
        shown = each(name, stdin="where\nup\nup\nnext\nwhere\ncontinue\n").stdout
        assert "program.py(4)<module>()" in shown and "penstock" not in shown


class TestMainModule:
    @pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
    def test_multiprocessing(self, both: Both, program: Write, method: str) -> None:
        name = program(f"""\
            import multiprocessing
            import sys

            class Thing:
                def __init__(self, value):
                    self.value = value

            def double(thing):
                return Thing((thing.value * 2, Thing.__module__, sys.argv[1:]))

            if __name__ == "__main__":
                with multiprocessing.get_context({method!r}).Pool(1) as pool:
                    for result in pool.map(double, [Thing(1), Thing(2)]):
                        print(result.value, type(result) is Thing)
        """)
        assert "True" in both(name, "x").stdout
        assert "True" in both("-m", "program", "x").stdout

    def test_multiprocessing_from_a_package(self, both: Both, program: Write) -> None:
        program("", "package/__init__.py")
        program(
            """\
            import multiprocessing
            print(__name__, __package__)
            from .part import double

            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    print(pool.map(double, [1]))
            """,
            "package/start.py",
        )
        program("def double(x): return 2 * x", "package/part.py")
        assert "__mp_main__ package" in both("-m", "package.start").stdout

    def test_pickle(self, both: Both, program: Write) -> None:
        name = program("""\
            import pickle

            class Thing: ...

            print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, Thing)
        """)
        assert both(name).stdout == "True <class '__main__.Thing'>\n"

    def test_sources_are_found(self, both: Both, program: Write) -> None:
        name = program("""\
            import inspect, pdb, doctest, typing, unittest

            class Thing:
                \"\"\"
                >>> 1 + 1
                2
                \"\"\"
                later: "Thing"

            print(inspect.getsource(Thing), typing.get_type_hints(Thing), doctest.testmod())
        """)
        assert "class Thing" in both(name).stdout


class TestInstalled:
    """What the program is run for; `python` would print False."""

    PROGRAM = """\
        import asyncio, sys
        import penstock
        async def main():
            return isinstance(asyncio.get_running_loop(), penstock.Loop)
        print(asyncio.run(main()), asyncio.Task is penstock.Task)
    """

    def test_the_loop_is_penstocks(
        self, launchers: list[list[str]], program: Write, tmp_path: Path
    ) -> None:
        program(self.PROGRAM)
        for launcher in launchers:
            for words in (["program.py"], ["-m", "program"]):
                run = subprocess.run(
                    [sys.executable, *launcher, *words],
                    capture_output=True,
                    text=True,
                    cwd=tmp_path,
                    env=_environment(),
                    timeout=60,
                )
                assert (run.stdout, run.stderr) == ("True True\n", "")

    @pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
    def test_the_loop_of_processes_that_multiprocessing_starts(
        self, launchers: list[list[str]], program: Write, tmp_path: Path, method: str
    ) -> None:
        program(f"""\
            import asyncio, multiprocessing, sys
            from concurrent.futures import ProcessPoolExecutor

            Loop = asyncio.new_event_loop().__class__  # as the main module is imported

            async def main():
                return type(asyncio.get_running_loop()) is Loop and Loop.__module__

            def work(generations):
                mine = [asyncio.run(main())]
                return mine + child(generations - 1) if generations else mine

            def child(generations):
                context = multiprocessing.get_context({method!r})
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    return pool.submit(work, generations).result()

            if __name__ == "__main__":
                print(*child(1))
        """)
        for launcher in launchers:
            run = subprocess.run(
                [sys.executable, "-W", "ignore", *launcher, "program.py"],
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env=_environment(),
                timeout=120,
            )
            assert (run.stdout, run.stderr) == ("penstock.loop penstock.loop\n", "")

    def test_a_child_that_cannot_import_penstock_does_without(
        self, program: Write, tmp_path: Path
    ) -> None:
        program("""\
            import multiprocessing, pickle, sys
            from multiprocessing import spawn
            from penstock.cli import processes

            if __name__ == "__main__":
                processes.take_over()
                data = spawn.get_preparation_data("child")
                del data["authkey"]  # which refuses to be pickled for anybody but a child
                data = pickle.dumps(data)
                penstock = [name for name in sys.modules if name.partition(".")[0] == "penstock"]
                for name in penstock:
                    del sys.modules[name]
                sys.modules["penstock"] = None
                print("name" in pickle.loads(data))
        """)
        run = subprocess.run(
            [sys.executable, "program.py"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=_environment(),
            timeout=60,
        )
        assert (run.stdout, run.stderr) == ("True\n", "")


class TestUsage:
    def penstock(self, *words: str) -> Outcome:
        run = subprocess.run(
            [sys.executable, "-m", "penstock", *words],
            capture_output=True,
            text=True,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        return Outcome(run.stdout, run.stderr, run.returncode)

    def test_help_goes_to_standard_output(self) -> None:
        for words in (["--help"], ["run", "--help"], ["run", "-h"], ["doctor", "--help"]):
            stdout, stderr, status = self.penstock(*words)
            assert stdout.startswith("usage: penstock")
            assert (stderr, status) == ("", 0)

    def test_version(self) -> None:
        import penstock

        assert self.penstock("--version").stdout == f"penstock {penstock.__version__}\n"

    @pytest.mark.parametrize("words", [["sing"], ["run", "-x"], ["run", "-m"], ["run", "-c"]])
    def test_errors_go_to_standard_error(self, words: list[str]) -> None:
        stdout, stderr, status = self.penstock(*words)
        assert (stdout, status) == ("", 2)
        assert "usage: penstock" in stderr
