"""Clients that are programs of their own."""

import os
import shutil
import subprocess

import pytest


def curl(url, *words):
    """What it prints. It runs without a sanitizer, in which it would hang."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(
        ["curl", "-sSf", *words, url], capture_output=True, check=True, timeout=60, env=environment
    )
    return done.stdout
