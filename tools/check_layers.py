"""Check the dependency rules of the source tree over its #include lines.

The layers under core/ only look downwards, the codecs know no I/O, and each foreign library is
known to one folder. Prints every line that breaks a rule, with the rule; exits 1 if there is one.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
PACKAGE_IMPORT = re.compile(r'Py\w*Import\w*\s*\([^;"]*"(penstock[\w.]*)"')

# What a folder of core/ may include of its siblings, besides itself, from the bottom up.
LAYERS: dict[str, set[str]] = {
    "base": set(),
    "metrics": {"base"},
    "reactor": {"base", "metrics"},
    "net": {"base", "metrics", "reactor"},
    "tls": {"base", "metrics", "reactor", "net"},
    "http1": {"base"},
    "http2": {"base"},
    "websocket": {"base"},
    "server": {"base", "metrics", "reactor", "net", "tls", "http1", "http2", "websocket"},
}

# A foreign library, by its headers, stays behind one folder.
LIBRARIES = {
    "liburing": re.compile(r"^liburing(\.h|/)"),
    "OpenSSL": re.compile(r"^openssl/"),
    "nghttp2": re.compile(r"^nghttp2/"),
    "zlib": re.compile(r"^(zlib|zconf)\.h$"),
}
PYTHON = re.compile(r"^(Python|structmember|frameobject)\.h$|^(internal|cpython)/")


@dataclass(frozen=True)
class Include:
    path: Path  # of the file, from the root
    line: int
    header: str

    def breaks(self, rule: str) -> str:
        return f"{self.path}:{self.line}: includes {self.header}: {rule}"

    @property
    def folder(self) -> str:
        return self.path.parts[1] if len(self.path.parts) > 2 else ""


def sources(root: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(p for p in (root / folder).rglob("*") if p.suffix in {".h", ".cc"})


def includes(root: Path, *folders: str) -> Iterator[Include]:
    for path in sources(root, *folders):
        for number, text in enumerate(path.read_text().splitlines(), 1):
            if match := INCLUDE.match(text):
                yield Include(path.relative_to(root), number, match[1])


def target_folder(root: Path, include: Include) -> str:
    """The folder of core/ that a header is of, or "" if it is none of core's."""
    first, *rest = Path(include.header).parts
    if not rest:
        return ""  # beside the file, or a system header
    return first if first in LAYERS or (root / "core" / first).is_dir() else ""


def check_layer(root: Path, include: Include) -> str | None:
    target = target_folder(root, include)
    if target in {"", include.folder}:
        return None
    allowed = LAYERS.get(include.folder)
    if allowed is None:
        return include.breaks(f"core/{include.folder} is no layer known to tools/check_layers.py")
    if target in allowed:
        return None
    names = ", ".join(sorted(allowed)) or "nothing else"
    return include.breaks(f"core/{include.folder} may include {names} of core/, not {target}")


def check_core(root: Path) -> Iterator[str]:
    for include in includes(root, "core"):
        if PYTHON.match(include.header):
            yield include.breaks("core/ knows nothing of Python; only binding/ does")
        elif ".." in include.header:
            yield include.breaks("includes start at core/")
        elif error := check_layer(root, include):
            yield error


def check_libraries(root: Path) -> Iterator[str]:
    users: dict[str, dict[Path, Include]] = defaultdict(dict)
    for include in includes(root, "core", "binding"):
        for library, pattern in LIBRARIES.items():
            if pattern.match(include.header):
                users[library].setdefault(include.path.parent, include)
    for library, folders in users.items():
        if len(folders) > 1:
            names = ", ".join(str(folder) for folder in folders)
            for include in folders.values():
                yield include.breaks(f"{library} belongs to one folder, but is in {names}")


def check_binding(root: Path) -> Iterator[str]:
    for path in sources(root, "binding"):
        text = path.read_text()
        for match in PACKAGE_IMPORT.finditer(text):
            if match[1] == "penstock" or match[1].startswith("penstock."):
                line = text.count("\n", 0, match.start()) + 1
                yield (
                    f"{path.relative_to(root)}:{line}: imports {match[1]}: "
                    "_core never imports penstock, penstock imports _core"
                )


def check(root: Path) -> list[str]:
    return [*check_core(root), *check_libraries(root), *check_binding(root)]


if __name__ == "__main__":
    errors = check(Path(__file__).resolve().parent.parent)
    print("\n".join(errors), end="\n" if errors else "")
    sys.exit(1 if errors else 0)
