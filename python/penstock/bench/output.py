"""What `penstock bench` prints: tables for people, or JSON."""

import json
from collections.abc import Sequence
from typing import Any

from .rounds import Ratio, Row, Table

NONE = "-"


def number(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def spread(ratio: Ratio | None, mark: str = "") -> str:
    """The ratio of most rounds, between marks, and the lowest and the highest."""
    if ratio is None:
        return NONE
    return f"{mark}{ratio.median:.2f}{mark} ({ratio.lowest:.2f}-{ratio.highest:.2f})"


def label(table: Table, row: Row) -> str:
    """The row's name, with its unit where the table has several."""
    return row.name if table.unit() else f"{row.name}, {row.figure.unit}"


def header(table: Table, peers: Sequence[str]) -> list[str]:
    return [table.unit(), *peers, *(f"penstock : {peer}" for peer in others(peers))]


def cells(table: Table, row: Row, peers: Sequence[str], mark: str = "") -> list[str]:
    """What stands below the header."""
    figures = [number(row.value(peer)) for peer in peers]
    ratios = [spread(row.ratio(peer), mark) for peer in others(peers)]
    return [label(table, row), *figures, *ratios]


def others(peers: Sequence[str]) -> list[str]:
    return [peer for peer in peers if peer != "penstock"] if "penstock" in peers else []


def text(table: Table, peers: Sequence[str]) -> str:
    rows = [header(table, peers), *(cells(table, row, peers) for row in table.rows.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([table.title, "", *lines, ""])


def as_json(tables: Sequence[Table], peers: Sequence[str], facts: dict[str, str]) -> str:
    """Every value of every round."""

    def as_object(row: Row) -> dict[str, Any]:
        ratios = {peer: row.ratio(peer) for peer in others(peers)}
        return {
            "name": row.name,
            "unit": row.figure.unit,
            "more is better": row.figure.more_is_better,
            "rounds": row.values,
            "penstock to": {peer: ratio._asdict() for peer, ratio in ratios.items() if ratio},
        }

    found = [
        {"title": table.title, "rows": [as_object(row) for row in table.rows.values()]}
        for table in tables
    ]
    return json.dumps({"machine": facts, "loops": list(peers), "tables": found}, indent=2)
