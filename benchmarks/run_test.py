"""What a run leaves behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("options", [["--quick"], ["--quick", "--only", "scheduling"]])
def test_a_quick_run_only_prints(options, tmp_path):
    here = shutil.copytree(Path(__file__).parent, tmp_path / "benchmarks")
    (here / "RESULTS.md").write_text("as they were\n")
    command = [sys.executable, here / "run.py", *options]
    found = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("# Results\n")
    assert (here / "RESULTS.md").read_text() == "as they were\n"
