"""Where penstock can't be built, one line says why, before a compiler is asked."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# pip's build backend, in an interpreter that passes for another.
BUILD = """
import shutil, subprocess, sys, sysconfig, tempfile  # while they are of the true platform
sysconfig.get_config_vars()
{disguise}
from scikit_build_core.build import build_wheel
build_wheel({folder!r})
"""
DISGUISES = {
    "sys.platform = 'darwin'": "penstock needs Linux",
    "sys.platform = 'win32'": "penstock needs Linux",
    "sys.implementation.name = 'pypy'": "penstock needs CPython",
    "sysconfig.get_config_vars()['ABIFLAGS'] = 't'": "free-threaded",
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_pip_says_so(disguise, tmp_path):
    pytest.importorskip("scikit_build_core")
    code = BUILD.format(disguise=disguise, folder=str(tmp_path))
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (found.stdout.count("\n"), found.returncode) == (1, 7), found.stderr
    assert DISGUISES[disguise] in found.stdout


def test_cmake_says_so(tmp_path):
    if not shutil.which("cmake") or not shutil.which("ninja"):
        pytest.skip("no cmake, or no ninja")
    command = ["cmake", "-G", "Ninja", "-S", ROOT, "-B", tmp_path, "-DCMAKE_SYSTEM_NAME=Darwin"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert "penstock needs Linux" in found.stderr
    assert "compiler" not in found.stdout
    assert found.returncode == 1


def test_the_headers_of_a_free_threaded_python_say_so(tmp_path):
    """For builds that ask neither pip nor CMake."""
    if not shutil.which("g++"):
        pytest.skip("no g++")
    source = tmp_path / "module.cc"
    source.write_text('#include "py/python.h"\n')
    folders = [f"-I{ROOT / 'binding'}", f"-I{sysconfig.get_path('include')}"]
    command = ["g++", "-std=c++20", "-fsyntax-only", "-DPy_GIL_DISABLED=1", *folders, str(source)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1
    assert "penstock needs a CPython with the GIL" in found.stderr
