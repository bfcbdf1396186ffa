"""The figures of docs/design/007-soak.md, each subject's between markers of its own."""

import textwrap
from pathlib import Path

from tests import figures_note
from tests.soak.figures import MEASURES, growth
from tests.soak.soak import Soak

NAME = "docs/design/007-soak.md"
NOTE = Path(__file__).parents[2] / NAME
MARKERS = {
    "loop": figures_note.MARKERS,
    "http": ("<!-- figures of http -->\n", "<!-- /figures of http -->\n"),
}


def counted(soak: Soak) -> list[list[str]]:
    """What may not differ: as it was at the first census, and at the last."""
    rows = []
    ends = soak.first, soak.last
    for name, count in {
        "descriptors": lambda figures: len(figures.census.fds),
        "tasks": lambda figures: len(figures.census.tasks),
        "Python threads": lambda figures: len(figures.census.threads),
        "child processes": lambda figures: len(figures.census.children),
        "held by the loop": lambda figures: figures.census.held.total(),
        "native objects": lambda figures: figures.objects.total(),
    }.items():
        rows.append([name, *(f"{count(figures):,}" for figures in ends), "none"])
    return rows


def measured(soak: Soak) -> list[list[str]]:
    rows = []
    jobs = soak.history[-1].jobs - soak.history[0].jobs
    for field, measure in MEASURES.items():
        points = [(figures.jobs, getattr(figures, field)) for figures in soak.history]
        bound = measure.leeway + measure.a_job * jobs
        ends = [points[0][1], points[-1][1], growth(points), bound]
        words = [f"{value / measure.scale:,.0f}" for value in ends]
        rows.append([f"{measure.name}, {measure.unit}", *words[:2], f"{words[2]} of {words[3]}"])
    return rows


def section(soak: Soak) -> str:
    rows = [
        ["", "first", "last", "growth"],
        ["---", "---:", "---:", "---:"],
        *counted(soak),
        *measured(soak),
    ]
    kinds = ", ".join(f"{name} {soak.done[name]:,}" for name in sorted(soak.kinds))
    return "\n".join(
        [
            f"{soak.jobs:,} jobs in {soak.seconds / 60:.0f} min, {soak.cancelled.total():,} of "
            f"them cancelled, {len(soak.history)} censuses after the warm-up.",
            f"Seed {soak.seed}, {figures_note.machine()}:",
            "",
            *(f"| {' | '.join(cells)} |" for cells in rows),
            "",
            *([textwrap.fill(soak.summary, 100), ""] if soak.summary else []),
            textwrap.fill(f"Not cancelled: {kinds}.", 100),
            "",
        ]
    )


def record(soak: Soak) -> None:
    figures_note.put(NOTE, section(soak), MARKERS[soak.subject])
