"""Figures that tools write into documents, between markers."""

import datetime
import os
import platform
import sys
from pathlib import Path

MARKERS = ("<!-- figures -->\n", "<!-- /figures -->\n")


def machine() -> str:
    """What the figures are of, and of when."""
    now = datetime.datetime.now(datetime.UTC).date().isoformat()
    return (
        f"CPython {platform.python_version()}, {platform.system()} {platform.release()}, "
        f"{len(os.sched_getaffinity(0))} cores, {now}"
    )


def put(note: Path, text: str, markers: tuple[str, str] = MARKERS) -> None:
    """Replace what stands between the markers; exits where there are none."""
    before, begin, rest = note.read_text().partition(markers[0])
    _, end, after = rest.partition(markers[1])
    if not end:
        sys.exit(f"{note.name} has no place for the figures: {' '.join(markers)}")
    note.write_text(f"{before}{begin}{text}{end}{after}")
