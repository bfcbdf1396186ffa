"""RESULTS.md and README.md's section, made of the same tables."""

from collections.abc import Sequence

from penstock.bench.output import cells, header, number, others, spread
from penstock.bench.rounds import Ratio, Row, Table

BOLD = "**"

MARKERS = ("<!-- figures -->", "<!-- /figures -->")
# So many of the rows in which penstock does worst are listed on their own, for each other loop.
WORST = 8

CONNECTED = "Scheduling, one idle connection registered"
# What README.md shows, beside the loops that most people know: of everyday operations, those that
# the others are made of.
SHORT_LOOPS = ("asyncio", "uvloop", "penstock")
SHORT = (
    (CONNECTED, "call_soon chain"),
    (CONNECTED, "sleep(0)"),
    (CONNECTED, "future set + await"),
    (CONNECTED, "create_task"),
    (CONNECTED, "gather of 100, each"),
    (CONNECTED, "Queue ping-pong"),
    (CONNECTED, "timeout()"),
    ("Echo of a protocol", "Protocol, 1 KiB: server's CPU a message"),
    ("Echo of a protocol", "Protocol, 1 KiB: p99"),
    ("Echo of streams", "read(), 1 KiB: server's CPU a message"),
    ("Echo over TLS", "1 KiB: server's CPU a message"),
    ("Memory, idle", "task waiting for an asyncio.Event"),
    ("Memory, idle", "connection of streams"),
)

INTRODUCTION = """\
# Results

Written by `benchmarks/run.py`; edits are lost with the next run. `penstock bench` measures the
same on any machine.

A loop's column is the median of its rounds. Less is better in every row but those of throughput. A
ratio is what penstock needs to what the other needs (of a throughput: the other's to penstock's) in
the same round: the median of the rounds, in brackets the lowest and the highest. Below 1 penstock
does better.

All loops answer the same client, a process of plain Python on the other core, and a throughput is
that of the two together: where a server's CPU time leaves room, it was the client that was busy.
A p50, p99 or p99.9 is from question to answer on one connection, and on a machine with other work
mostly of that work.
"""

PICTURE = """\
![Ratios of penstock to the other loops, row by row](results.svg)

Each dot is a row of the tables below: left of the line penstock does better.
"""


def in_brackets(title: str) -> str:
    return title if title[1:2].isupper() else title[0].lower() + title[1:]


def markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    """A table whose first column is words and whose others, if they have names, are figures."""
    rules = ["---", *("---:" if name else "---" for name in header[1:])]
    lines = [header, rules, *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] + [""]


def full(table: Table, loops: Sequence[str]) -> list[str]:
    rows = [cells(table, row, loops, BOLD) for row in table.rows.values()]
    return [f"## {table.title}", "", *markdown(header(table, loops), rows)]


def ranked(tables: Sequence[Table], peer: str) -> list[tuple[Table, Row, Ratio]]:
    """All rows that both have, the one in which penstock does worst beside that peer first."""
    rows = [
        (table, row, ratio)
        for table in tables
        for row in table.rows.values()
        if (ratio := row.ratio(peer))
    ]
    return sorted(rows, key=lambda found: -found[2].median)


def balance(tables: Sequence[Table], peer: str) -> str:
    """In how many rows penstock does better than the peer, and which is the worst."""
    rows = ranked(tables, peer)
    if not rows:
        return f"{peer} has no row of these."
    better = sum(ratio.median < 1 for _, _, ratio in rows)
    table, worst, ratio = rows[0]
    return (
        f"penstock does better than {peer} in {better} of {len(rows)} rows. "
        f"The worst: {worst.name} ({in_brackets(table.title)}), {ratio.median:.2f}."
    )


def results(tables: Sequence[Table], loops: Sequence[str], facts: dict[str, str]) -> str:
    lines = [
        INTRODUCTION,
        *markdown(["", ""], [[name, value] for name, value in facts.items()]),
        *(line for peer in others(loops) for line in (balance(tables, peer), "")),
        PICTURE,
    ]
    for peer in others(loops):
        lines += [f"## The worst rows beside {peer}", ""]
        worst = [
            [f"{row.name} ({in_brackets(table.title)})", spread(ratio, BOLD)]
            for table, row, ratio in ranked(tables, peer)[:WORST]
        ]
        lines += markdown(["row", f"penstock : {peer}"], worst)
    for table in tables:
        lines += full(table, loops)
    return "\n".join(lines)


def section(tables: Sequence[Table], loops: Sequence[str], facts: dict[str, str]) -> str:
    """The short table for README.md."""
    loops = [loop for loop in loops if loop in SHORT_LOOPS]
    peers = others(loops)
    by_title = {table.title: table for table in tables}
    rows = []
    for title, name in SHORT:
        row = by_title[title].rows[name]
        words = name if title == CONNECTED else f"{in_brackets(title)}: {name}"
        unit = row.figure.unit.split()[0]
        ratios = [row.ratio(peer) for peer in peers]
        rows.append(
            [f"{words}, {unit}", *(number(row.value(loop)) for loop in loops)]
            + [f"{ratio.median:.2f}" if ratio else "-" for ratio in ratios]
        )
    python = facts["Python"].split(",")[0]
    lines = [
        "CPU time of an operation, one idle connection registered, and of an echoed message; how",
        "long its sender waits; memory of an idle task and of an idle connection. Less is better.",
        f"CPython {python}, {facts['CPU']}, {facts['cores']} cores, {facts['date']}:",
        "",
        *markdown(["", *loops, *(f"penstock : {peer}" for peer in peers)], rows),
        *(line for peer in peers for line in (balance(tables, peer), "")),
        "Every row is in [benchmarks/RESULTS.md](benchmarks/RESULTS.md). To measure them yourself:",
        "",
        "```\npenstock bench\n```",
    ]
    return "\n".join(lines)


def put_section(text: str, new: str) -> str:
    """The text with what stands between the markers replaced."""
    begin, end = MARKERS
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"no {begin} … {end}")
    return f"{before}{begin}\n{new}\n{end}{after}"
