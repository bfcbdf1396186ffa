"""The page of the server's options says what they are."""

import subprocess
import sys
from pathlib import Path


def test_the_page_is_written_from_the_options():
    script = Path(__file__).with_name("serve_options.py")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
