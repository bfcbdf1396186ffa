"""The documentation's snippets do what the pages say.

A ```python block is a program: it runs in a process of its own, as it is and under `penstock run`.
In a ```console block each line that begins with "$ " is a command, run by a shell in the root of
the repository; what follows is what it prints. A ```text block is what the block before it prints.
"..." stands for anything. `<!-- not run: why -->` on the line before excuses a block.
"""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PROGRAMS = DOCS / "programs"
BLOCK = re.compile(r"(<!-- not run: .+ -->\n)?^```(python|console|text)\n(.*?)^```$", re.M | re.S)


class Snippet(NamedTuple):
    where: str
    language: str
    code: str
    output: str | None


def snippets(page):
    """What of a page is run; what is printed goes with what prints it."""
    text = page.read_text()
    found = []
    for block in BLOCK.finditer(text):
        excuse, language, code = block.groups()
        where = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, block.start()) + 1}"
        if language == "text":
            assert found and found[-1].output is None, f"{where}: nothing here prints that"
            found[-1] = found[-1]._replace(output=code)
        elif not excuse:
            found.append(Snippet(where, language, code, None))
    return found


SNIPPETS = [
    snippet
    for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    for snippet in snippets(page)
    # README's needs a server; the design notes show what is inside.
    if not snippet.where.startswith(("README", "docs/design"))
]
PYTHON = [snippet for snippet in SNIPPETS if snippet.language == "python"]
CONSOLE = [snippet for snippet in SNIPPETS if snippet.language == "console"]
BIN = Path(sys.executable).parent


def run(command, **options):
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHON_COLORS": "0"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        **options,
    )
    return done.returncode, done.stdout


def check(expected, printed):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.OutputChecker().check_output(expected, printed, options), printed


@pytest.mark.parametrize("snippet", PYTHON, ids=lambda snippet: snippet.where)
@pytest.mark.parametrize("how", ["python", "penstock run"])
def test_a_program(snippet, how):
    if how == "penstock run" and "asyncio.unix_events" in (snippet.output or ""):
        pytest.skip("it is about both loops")
    runner = [] if how == "python" else ["-m", "penstock", "run"]
    status, printed = run([sys.executable, *runner, "-c", snippet.code])
    assert status == 0, printed
    check(snippet.output or "", printed)


@pytest.mark.parametrize("snippet", CONSOLE, ids=lambda snippet: snippet.where)
def test_commands(snippet):
    commands = re.split(r"^\$ ", snippet.code, flags=re.M)
    assert commands.pop(0) == ""
    for text in commands:
        command, _, expected = text.partition("\n")
        _, printed = run(command, shell=True)
        check(expected, printed)


@pytest.mark.parametrize("plugin", ["pytest_asyncio", "anyio"])
def test_a_test_runner(plugin):
    pytest.importorskip(plugin)
    folder = str(PROGRAMS / plugin)
    pytest_alone = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", folder]
    status, printed = run([*pytest_alone, "-p", "no:cacheprovider", folder])
    assert status == 0, printed
    assert "1 passed" in printed


def test_every_page_is_read():
    assert PYTHON and CONSOLE
    assert {snippet.language for snippet in SNIPPETS} == {"python", "console"}
