"""The list of tests that are left out, and the rules that let it only shrink.

A line is: a glob of test ids, the versions of Python it holds for, how the test goes, and why.

    fails      it runs, and must fail: an entry that passes is an error
    stock      it looks behind the public interface of the standard library's loop: it must fail on
               penstock's, and pass on that one with penstock's Task and Future
    hang       it would run into its time limit, so that it is not run
    crash      it would take the process with it, so that it is not run
    unrelated  it is not about penstock, so that it is not run
    machine    it fails on the standard library's loop as well where the machine lacks something

Versions are `*`, `3.12`, `3.12+`, `3.14.8+`, `3.11-3.13`, or several of these with commas between.
"""

import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

WAYS = ("fails", "stock", "hang", "crash", "unrelated", "machine")


@dataclass(frozen=True)
class Entry:
    pattern: str
    versions: str
    way: str
    reason: str

    def covers(self, test: str) -> bool:
        return fnmatchcase(test, self.pattern)


def read(path: Path) -> list[Entry]:
    """The entries that hold for this Python."""
    entries = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split(maxsplit=3)
        if len(fields) != 4 or fields[2] not in WAYS:
            raise ValueError(f"{path.name}:{number}: not 'glob versions way reason': {line}")
        entry = Entry(*fields)
        if _is_among(entry.versions, sys.version_info[:3]):
            entries.append(entry)
    return entries


def _is_among(versions: str, version: tuple[int, ...]) -> bool:
    def parse(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split("."))

    for span in versions.split(","):
        if span == "*":
            return True
        if span.endswith("+"):
            if version >= parse(span[:-1]):
                return True
        else:
            first, _, last = span.partition("-")
            until = parse(last or first)
            if parse(first) <= version and version[: len(until)] <= until:
                return True
    return False
