"""`penstock run`: what `python` does with a program, after `penstock.install()`.

The program must not be able to tell: `sys.argv`, `sys.path[0]`, the module `__main__`, exit status
and tracebacks are those of `python`. CPython's Modules/main.c and Python/pythonrun.c are the
reference; tests/cli compares the two, program by program.

A script, `-c` and standard input are executed here; `-m`, directories and zip files go through
`runpy`, as they do in CPython, so that even runpy's own frames are where people expect them. Ours
are in no stack that the program can look at: it is called as the outermost.
"""

import builtins
import importlib.machinery
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from penstock._core import call_outermost

from . import processes

USAGE = """\
usage: penstock run [-m module | -c code | script | -] [args]

Runs a Python program with penstock as its asyncio. All that follows the program is the program's.

  script   a Python file, or a directory or zip file that holds __main__.py
  -m       a module, as `python -m` does
  -c       a string of code
  -        standard input; the default, unless it is a terminal

Options of the interpreter itself go before: python -X dev -m penstock run app.py
"""

# The program may replace sys.excepthook and sys.__excepthook__ alike.
_show = sys.excepthook

Program = Callable[[], object]


def command(words: list[str]) -> int:
    """Run the program that the words name, to its end."""
    option, value, arguments = _split(words)
    if option == "help":
        print(USAGE, end="")
        return 0
    if option == "usage":
        print(f"penstock run: {value}\n{USAGE}", end="", file=sys.stderr)
        return 2

    processes.take_over()
    path_hole = not sys.flags.safe_path
    if path_hole:
        del sys.path[0]
    main = _new_main()
    if option == "module":
        program = _module(value, path_hole)
    elif option == "code":
        program = _code(main, value, path_hole)
    elif option == "stdin":
        program = _stdin(main, path_hole)
    else:
        program = _script(main, value, path_hole)
    sys.argv[:] = [{"module": "-m", "code": "-c"}.get(option, value), *arguments]
    return _run(program)


def _split(words: list[str]) -> tuple[str, str, list[str]]:
    """What to run, its operand, and the program's own arguments."""
    first, rest = (words[0], words[1:]) if words else ("", [])
    if first in ("-h", "--help"):
        return "help", "", []
    if first == "-" or not words:
        if not words and sys.stdin is not None and sys.stdin.isatty():
            return "usage", "nothing to run", []
        return "stdin", first, rest
    if first == "--":
        return ("script", rest[0], rest[1:]) if rest else ("usage", "nothing to run", [])
    for letter, option in (("-m", "module"), ("-c", "code")):
        if first.startswith(letter):
            if first != letter:
                return option, first.removeprefix(letter), rest
            if not rest:
                return "usage", f"argument expected for the {letter} option", []
            return option, rest[0], rest[1:]
    if first.startswith("-"):
        return "usage", f"no such option: {first}", []
    return "script", first, rest


def _new_main() -> types.ModuleType:
    """A fresh `__main__`, as the interpreter makes it before it knows what will run."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    main.__loader__ = importlib.machinery.BuiltinImporter
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    sys.modules["__main__"] = main
    return main


def _module(name: str, path_hole: bool) -> Program:
    import runpy

    if path_hole:
        sys.path.insert(0, os.getcwd())
    return lambda: call_outermost(runpy._run_module_as_main, name)  # type: ignore[attr-defined]


def _code(main: types.ModuleType, source: str, path_hole: bool) -> Program:
    if path_hole:
        sys.path.insert(0, "")

    def program() -> None:
        text = source + "\n"
        if sys.version_info >= (3, 14):
            import textwrap

            text = textwrap.dedent(text)
        code = compile(text, "<string>", "exec", dont_inherit=True)
        if sys.version_info >= (3, 13):
            # Where a traceback finds the lines of a program that is in no file. The key was the
            # file's name before it became the code object.
            import linecache

            key = code if hasattr(linecache, "_interactive_cache") else "<string>"
            linecache._register_code(key, text, "<string>")  # type: ignore[attr-defined]
        call_outermost(exec, code, main.__dict__)

    return program


def _stdin(main: types.ModuleType, path_hole: bool) -> Program:
    if path_hole:
        sys.path.insert(0, "")
    _set_file(main, "<stdin>")

    def program() -> None:
        code = compile(sys.stdin.buffer.read(), "<stdin>", "exec", dont_inherit=True)
        call_outermost(exec, code, main.__dict__)

    return program


def _script(main: types.ModuleType, name: str, path_hole: bool) -> Program:
    path = name if os.path.isabs(name) else os.path.join(os.getcwd(), name)
    if _holds_modules(path):
        import runpy

        sys.path.insert(0, path)
        return lambda: call_outermost(runpy._run_module_as_main, "__main__", False)  # type: ignore[attr-defined]

    if path_hole:
        sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    import io

    try:
        with io.open_code(path) as file:
            content = file.read()
    except OSError as error:
        print(
            f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        sys.exit(2)
    _set_file(main, path)
    compiled = path.endswith(".pyc")
    machinery = importlib.machinery
    loader = machinery.SourcelessFileLoader if compiled else machinery.SourceFileLoader
    main.__loader__ = loader("__main__", path)

    def program() -> None:
        if compiled:
            code = _unmarshal(content)
        else:
            code = compile(content, path, "exec", dont_inherit=True)
        call_outermost(exec, code, main.__dict__)

    return program


def _holds_modules(path: str) -> bool:
    """Whether the path is a directory, a zip file or whatever else a path hook can import from."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except ImportError:
            continue
        return True
    return False


def _set_file(main: types.ModuleType, path: str) -> None:
    main.__file__ = path
    if sys.version_info < (3, 15):
        main.__dict__["__cached__"] = None


def _unmarshal(content: bytes) -> types.CodeType:
    import importlib.util
    import marshal

    if content[:4] != importlib.util.MAGIC_NUMBER:
        raise RuntimeError("Bad magic number in .pyc file")
    code = marshal.loads(content[16:])
    if not isinstance(code, types.CodeType):
        raise RuntimeError("Bad code object in .pyc file")
    return code


def _run(program: Program) -> int:
    try:
        program()
    except SystemExit:
        raise
    except KeyboardInterrupt as error:
        _report(error)
        # Only the interpreter itself can end the process as an interrupted one, after it has been
        # finalised; what it would print has been printed.
        sys.excepthook = lambda *_: None
        raise
    except BaseException as error:
        _report(error)
        return 1
    return 0


def _report(error: BaseException) -> None:
    """PyErr_Print(), for an exception that has passed through our frames."""
    error.__traceback__ = trace = _theirs(error.__traceback__)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    hook: Any = getattr(sys, "excepthook", None)
    try:
        sys.audit("sys.excepthook", hook, type(error), error, trace)
    except RuntimeError:
        return
    except BaseException:
        pass
    if hook is None:
        _print("sys.excepthook is missing\n")
        _show(type(error), error, trace)
        return
    try:
        hook(type(error), error, trace)
    except SystemExit:
        raise
    except BaseException as second:
        second.__traceback__ = _theirs(second.__traceback__)
        second.__context__ = None if second.__context__ is error else second.__context__
        _print("Error in sys.excepthook:\n")
        _show(type(second), second, second.__traceback__)
        _print("\nOriginal exception was:\n")
        _show(type(error), error, trace)


def _print(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(text)


def _theirs(trace: types.TracebackType | None) -> types.TracebackType | None:
    """The traceback without the frames of this file, which stand above the program's."""
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    return trace
