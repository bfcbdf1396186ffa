"""results.svg: every ratio of every row, a strip for each table and loop, on a logarithmic axis."""

import math
from collections.abc import Sequence
from html import escape

from penstock.bench.output import others
from penstock.bench.rounds import Table

WIDTH = 860
LEFT = 300  # of it is for the tables' names
RIGHT = 20
TOP = 46
STRIP = 13  # the height that a loop has in a table
GAP = 9  # between tables
DOT = 4

# Seen apart by those who see few colours (Okabe and Ito).
COLOURS = {
    "asyncio": "#0072b2",
    "uvloop": "#d55e00",
    "aiofastnet": "#e69f00",
    "rloop": "#009e73",
    "zuvloop": "#cc79a7",
    "penstock_uring": "#56b4e9",
}
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def drawn(tables: Sequence[Table], loops: Sequence[str]) -> str:
    peers = others(loops)
    ratios = [
        ratio.median
        for table in tables
        for row in table.rows.values()
        for peer in peers
        if (ratio := row.ratio(peer))
    ]
    ticks = axis(min(ratios), max(ratios))
    height = TOP + len(tables) * (len(peers) * STRIP + GAP) + 6

    def x(ratio: float) -> str:
        share = math.log(ratio / ticks[0]) / math.log(ticks[-1] / ticks[0])
        return f"{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for place, peer in enumerate(peers):
        lines.append(
            f'<text x="{8 + place * 130}" y="16" fill="{COLOURS[peer]}">penstock : {peer}</text>'
        )
    for tick in ticks:
        stroke = "#333" if tick == 1 else "#ddd"
        lines.append(
            f'<path d="M{x(tick)} {TOP - 6}V{height - 6}" stroke="{stroke}"/>'
            f'<text x="{x(tick)}" y="{TOP - 12}" text-anchor="middle" fill="#333">{tick:g}</text>'
        )
    y = TOP
    for table in tables:
        middle = y + len(peers) * STRIP // 2 + 4
        lines.append(
            f'<text x="{LEFT - 12}" y="{middle}" text-anchor="end">{escape(table.title)}</text>'
        )
        for peer in peers:
            lines.append(f'<g fill="{COLOURS[peer]}" fill-opacity=".6">')
            lines += [
                f'<circle cx="{x(ratio.median)}" cy="{y + STRIP // 2}" r="{DOT}">'
                f"<title>{escape(row.name)}: {ratio.median:.2f}</title></circle>"
                for row in table.rows.values()
                if (ratio := row.ratio(peer))
            ]
            lines.append("</g>")
            y += STRIP
        y += GAP
    return "\n".join([*lines, "</svg>", ""])


def axis(lowest: float, highest: float) -> list[float]:
    """Of the ticks those that hold all ratios, and 1 among them."""
    below = [tick for tick in TICKS if tick <= min(lowest, 0.5)] or [TICKS[0]]
    above = [tick for tick in TICKS if tick >= max(highest, 2)] or [TICKS[-1]]
    return [tick for tick in TICKS if below[-1] <= tick <= above[0]]
