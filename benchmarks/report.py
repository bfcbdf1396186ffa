"""RESULTS.md and README.md's section, made of the same tables."""

from rounds import Ratio, Row, Table

MARKERS = ("<!-- figures -->", "<!-- /figures -->")
# So many of the rows in which penstock does worst are listed on their own.
WORST = 8

CONNECTED = "Scheduling, one idle connection registered"
# What README.md shows: of everyday operations, those that the others are made of.
SHORT = (
    (CONNECTED, "call_soon chain"),
    (CONNECTED, "sleep(0)"),
    (CONNECTED, "future set + await"),
    (CONNECTED, "create_task"),
    (CONNECTED, "gather of 100, each"),
    (CONNECTED, "Queue ping-pong"),
    (CONNECTED, "timeout()"),
    ("Echo, the server's CPU time", "protocol, 1 KiB"),
    ("Echo, the server's CPU time", "streams, 1 KiB"),
    ("Memory, idle", "task waiting for an asyncio.Event"),
    ("Memory, idle", "connection of streams"),
)


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def spread(ratio: Ratio) -> str:
    return f"**{ratio.median:.2f}** ({ratio.lowest:.2f}-{ratio.highest:.2f})"


def in_brackets(title: str) -> str:
    return title if title[1:2].isupper() else title[0].lower() + title[1:]


def markdown(header: list[str], rows: list[list[str]]) -> list[str]:
    """A table whose first column is words and whose others, if they have names, are figures."""
    rules = ["---", *("---:" if name else "---" for name in header[1:])]
    lines = [header, rules, *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] + [""]


def full(table: Table, names: list[str]) -> list[str]:
    peers = names[:-1]
    header = [table.unit, *names, *(f"penstock : {peer}" for peer in peers)]
    rows = [
        [row.name, *(number(row.value(name)) for name in names)]
        + [spread(row.ratio(peer)) for peer in peers]
        for row in table.rows.values()
    ]
    return [f"## {table.title}", "", *markdown(header, rows)]


def ranked(tables: list[Table], peer: str) -> list[tuple[Table, Row]]:
    """All rows, the one in which penstock does worst beside that peer first."""
    rows = [(table, row) for table in tables for row in table.rows.values()]
    return sorted(rows, key=lambda pair: -pair[1].ratio(peer).median)


def balance(tables: list[Table], peer: str) -> str:
    """In how many rows penstock needs less than the peer, and which is the worst."""
    rows = ranked(tables, peer)
    less = sum(row.ratio(peer).median < 1 for _, row in rows)
    table, worst = rows[0]
    return (
        f"penstock needs less than {peer} in {less} of {len(rows)} rows. "
        f"The worst: {worst.name} ({in_brackets(table.title)}), {worst.ratio(peer).median:.2f}."
    )


def results(
    tables: list[Table], names: list[str], facts: dict[str, str], command: str, rounds: int
) -> str:
    peers = names[:-1]
    lines = [
        "# Results",
        "",
        "Written by `benchmarks/run.py`; edits are lost with the next run. Less is better in every",
        "row. A loop's column is the median of its rounds. A ratio is penstock's figure to the",
        "other's in the same round: the median of the rounds, in brackets the lowest and the",
        "highest; below 1 penstock needs less.",
        "",
        *markdown(
            ["", ""],
            [[name, value] for name, value in facts.items()]
            + [["rounds", str(rounds)], ["command", f"`{command}`"]],
        ),
        *(line for peer in peers for line in (balance(tables, peer), "")),
    ]
    for peer in peers[-1:]:
        lines += [f"## The worst rows beside {peer}", ""]
        worst = [
            [f"{row.name} ({in_brackets(table.title)})", spread(row.ratio(peer))]
            for table, row in ranked(tables, peer)[:WORST]
        ]
        lines += markdown(["row", f"penstock : {peer}"], worst)
    for table in tables:
        lines += full(table, names)
    return "\n".join(lines)


def section(tables: list[Table], names: list[str], facts: dict[str, str], command: str) -> str:
    """The short table for README.md."""
    peers = names[:-1]
    by_title = {table.title: table for table in tables}
    rows = []
    for title, name in SHORT:
        table = by_title[title]
        row = table.rows[name]
        area = title.split(",")[0].lower()
        words = name if area == "scheduling" else f"{area}: {name}"
        rows.append(
            [f"{words}, {table.unit.split()[0]}", *(number(row.value(loop)) for loop in names)]
            + [f"{row.ratio(peer).median:.2f}" for peer in peers]
        )
    python = facts["Python"].split(",")[0]
    lines = [
        "CPU time of an operation, one idle connection registered, and of an echoed message;",
        "memory of an idle task and of an idle connection. Less is better.",
        f"CPython {python}, {facts['CPU']}, {facts['cores']} cores, {facts['date']}:",
        "",
        *markdown(["", *names, *(f"penstock : {peer}" for peer in peers)], rows),
        *(line for peer in peers for line in (balance(tables, peer), "")),
        "Every row is in [benchmarks/RESULTS.md](benchmarks/RESULTS.md). To measure them yourself:",
        "",
        f"```\n{command}\n```",
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
