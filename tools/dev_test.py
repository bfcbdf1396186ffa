"""What ./dev asks of the tools around it."""

import ensurepip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEV = Path(__file__).parent.parent / "dev"
# Where a new virtual environment gets its pip: CPython's own place for it, and Debian's.
PLACES = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
PIPS = [wheel for place in PLACES for wheel in place.glob("pip-*.whl")]


@pytest.mark.parametrize("pip", PIPS, ids=lambda wheel: wheel.name.removesuffix(".whl"))
def test_pip_knows_the_options_of_the_build(tmp_path, pip):
    function = re.search(r"^install_penstock\(\) \{.*?^\}", DEV.read_text(), re.M | re.S)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    # --help keeps pip from the work, but not from reading its arguments.
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {pip}/pip "$@" --help\n')
    python.chmod(0o755)
    script = f"venv={tmp_path} build={tmp_path} root={tmp_path}\n{function[0]}\ninstall_penstock"
    found = subprocess.run(
        ["sh", "-euc", script],
        env=os.environ | {"PIP_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.fixture
def clone(tmp_path):
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(DEV, clone)
    return clone


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # Without a compiler set-up ends early, and says so.
    return subprocess.run(command, env=os.environ | {"CXX": "none"}, capture_output=True, text=True)


def test_link_to_dev_works_in_the_clone(clone, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(clone / "dev")
    assert "no C++ compiler" in run(link, "build").stderr
    assert (clone / "build").is_dir()
    assert not (tmp_path / "build").exists()


def test_clone_that_is_not_writable_is_named_in_one_line(clone):
    (clone / "build").write_text("")  # root may write anywhere, but not into a file
    found = run(clone / "dev", "build")
    assert (
        found.stderr == f"penstock: {clone} is not writable: builds and environments go into it\n"
    )
    assert found.returncode == 1


@pytest.fixture
def machine(tmp_path):
    """A folder for PATH: a bare system, to which a test adds commands of its own."""
    path = tmp_path / "path"
    path.mkdir()
    for name in ("sh", "dirname", "readlink", "mkdir"):
        (path / name).symlink_to(shutil.which(name))
    add(path, "uname", "echo Linux")
    return path


def add(path: Path, name: str, line: str) -> None:
    command = path / name
    command.write_text(f"#!/bin/sh\n{line}\n")
    command.chmod(0o755)


def on(machine: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env={"PATH": str(machine)}, capture_output=True, text=True)


def test_what_only_root_could_install_is_named_in_one_line(clone, machine):
    add(machine, "id", "echo 1000")
    add(machine, "apt-get", "echo installed >&2")
    found = on(machine, clone / "dev", "build")
    packages = "g++ cmake ninja-build"
    assert (
        found.stderr
        == f"penstock: missing: {packages}. Install them as root: apt-get install {packages}\n"
    )
    assert (found.stdout, found.returncode) == ("", 1)


def test_where_debians_packages_are_unknown_they_are_named_in_one_line(clone, machine):
    found = on(machine, clone / "dev", "build")
    assert found.stderr.startswith("penstock: missing: g++ cmake ninja-build. Those are Debian's")
    assert (found.stderr.count("\n"), found.returncode) == (1, 1)


def test_another_platform_is_named_in_one_line(clone, machine):
    add(machine, "uname", "echo Darwin")
    found = on(machine, clone / "dev", "run")
    assert found.stderr == "penstock: this is Darwin; penstock needs Linux\n"
    assert (found.stdout, found.returncode) == ("", 1)


def test_a_python_that_is_too_old_is_named_in_one_line(clone, machine):
    for name in ("g++", "cmake", "ninja"):
        add(machine, name, "")
    (machine / "sed").symlink_to(shutil.which("sed"))
    add(machine, "old", r"printf '3.9 3.9.2\n/usr\nyes\nyes\n/usr/bin/old\nyes\n'")
    found = on(machine, clone / "dev", "--python", "old", "build")
    assert found.stderr == "penstock: 'old' is Python 3.9; penstock needs CPython 3.11 to 3.15\n"
    assert (found.stdout, found.returncode) == ("", 1)
