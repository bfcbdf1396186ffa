"""One measurement in this process: `python -P alone.py MODULE FUNCTION ARGUMENTS`.

MODULE is relative to this package, ARGUMENTS are JSON. Prints what the function returns as JSON.
"""

import importlib
import importlib.util
import json
import signal
import sys
from pathlib import Path

# What takes longer hangs: the kernel ends it, whoever else may be gone.
SECONDS = 120
NAME = "penstock_bench"


def call(module: str, function: str, arguments: str) -> None:
    signal.alarm(SECONDS)
    package = Path(__file__).with_name("__init__.py")
    spec = importlib.util.spec_from_file_location(
        NAME, package, submodule_search_locations=[str(package.parent)]
    )
    assert spec is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    found = getattr(importlib.import_module(f"{NAME}.{module}"), function)(**json.loads(arguments))
    if found is not None:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    call(*sys.argv[1:])
