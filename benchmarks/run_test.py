"""What a run leaves behind."""

import shutil
import subprocess
import sys
from pathlib import Path


def run(tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    here = shutil.copytree(Path(__file__).parent, tmp_path / "benchmarks")
    (here / "RESULTS.md").write_text("as they were\n")
    command = [sys.executable, here / "run.py", *words]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (here / "RESULTS.md").read_text() == "as they were\n"
    return found


def test_a_quick_run_only_prints(tmp_path):
    found = run(tmp_path, "--quick", "dns", "startup")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("# Results\n")
    assert "## Start" in found.stdout


def test_the_readme_gets_no_part_of_the_areas(tmp_path):
    found = run(tmp_path, "--readme", "dns")
    assert found.returncode == 2
    assert "--readme needs every area in full" in found.stderr
