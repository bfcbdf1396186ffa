"""Print what pyproject.toml requires under the names given, one requirement a line.

"build" is the build backend's list; every other name is a dependency group. Older pips know neither
of the two, so `./dev` hands them this list.
"""

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def requirements(project: dict, name: str) -> list[str]:
    if name == "build":
        return project["build-system"]["requires"]
    found = []
    for item in project["dependency-groups"][name]:
        if isinstance(item, dict):
            found += requirements(project, item["include-group"])
        else:
            found.append(item)
    return found


if __name__ == "__main__":
    project = tomllib.loads(PYPROJECT.read_text())
    names = [item for name in sys.argv[1:] for item in requirements(project, name)]
    print("\n".join(dict.fromkeys(names)))
