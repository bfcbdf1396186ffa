"""Where the examples are, what they share, and how a test runs one of them."""

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .services import Service

EXAMPLES = Path(__file__).parents[2] / "examples"

Run = Callable[..., subprocess.CompletedProcess[str]]
OpenFiles = Callable[[int], None]
Serve = Callable[["Service"], None]

# A folder of programs is no package.
_spec = importlib.util.spec_from_file_location("_local", EXAMPLES / "_local.py")
assert _spec is not None and _spec.loader is not None
examples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(examples)
