"""Rounds of measurements: each in a fresh process, the loops in turns, ratios within a round.

Absolute figures differ from machine to machine and from minute to minute. Two loops measured one
right after the other see the same machine, so what counts is the ratio of the two; a round gives
one such ratio, and we report the median of the rounds' ratios with the lowest and the highest.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple, TypeVar

from .process import Failed

Case = TypeVar("Case")

# Of those we want to hear why; other loops may lack what is measured.
MUST_WORK = ("asyncio", "penstock")


class Figure(NamedTuple):
    name: str
    unit: str
    more_is_better: bool = False


class Ratio(NamedTuple):
    """What penstock needs of what another loop needs; below 1 penstock does better."""

    median: float
    lowest: float
    highest: float


@dataclass
class Row:
    """One figure of one task: for each loop, a value a round."""

    name: str
    figure: Figure
    values: dict[str, list[float]] = field(default_factory=dict)

    def value(self, loop: str) -> float | None:
        return median(self.values[loop]) if loop in self.values else None

    def ratio(self, peer: str) -> Ratio | None:
        if peer not in self.values or "penstock" not in self.values:
            return None
        pairs = zip(self.values["penstock"], self.values[peer], strict=True)
        ratios = [
            theirs / ours if self.figure.more_is_better else ours / theirs for ours, theirs in pairs
        ]
        return Ratio(median(ratios), min(ratios), max(ratios))


@dataclass
class Table:
    """The rows of one kind of work; `figures` are those that a measurement of it has, by key."""

    title: str
    figures: Mapping[str, Figure]
    rows: dict[str, Row] = field(default_factory=dict)

    def add(self, task: str, loop: str, found: Mapping[str, float]) -> None:
        for key, figure in self.figures.items():
            if key in found:
                name = ": ".join(filter(None, (task, figure.name)))
                row = self.rows.setdefault(name, Row(name, figure))
                row.values.setdefault(loop, []).append(found[key])

    def settle(self, rounds: int) -> None:
        """Keep only what has a value a round."""
        for row in self.rows.values():
            row.values = {k: v for k, v in row.values.items() if len(v) == rounds}
        self.rows = {name: row for name, row in self.rows.items() if row.values}

    def unit(self) -> str:
        """That of all rows, or nothing if they have several."""
        units = {row.figure.unit for row in self.rows.values()}
        return units.pop() if len(units) == 1 else ""


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Of waits: in microseconds, and only those beyond which at least one wait lies."""
    in_order = sorted(seconds)
    return {
        f"p{per_mille / 10:g}": in_order[len(in_order) * per_mille // 1000] * 1e6
        for per_mille in (500, 990, 999)
        if len(in_order) * (1000 - per_mille) >= 1000
    }


WAITS = {
    "p50": Figure("p50", "µs"),
    "p99": Figure("p99", "µs"),
    "p99.9": Figure("p99.9", "µs"),
}


@dataclass
class Rounds:
    peers: list[str]
    count: int
    quick: bool

    def in_turns(
        self, tables: Sequence[Table], cases: Sequence[Case], one: Callable[[Case, str], None]
    ) -> None:
        """Call one(case, loop), which adds to the tables, for each case and loop, round by round.

        The loops of a case follow each other directly, and each round begins with another of them,
        so that none is always the first to find the machine's caches and clock as the last case
        left them. A loop that can't do what it is asked for is left out from there on.
        """
        lacking: set[tuple[int, str]] = set()
        for turn in range(self.count):
            first = turn % len(self.peers)
            for index, case in enumerate(cases):
                for name in self.peers[first:] + self.peers[:first]:
                    if (index, name) in lacking:
                        continue
                    try:
                        one(case, name)
                    except Failed as error:
                        if name in MUST_WORK:
                            raise
                        last = str(error).strip().splitlines()[-1]
                        print(f"{name} can't do {case}: {last}", file=sys.stderr)
                        lacking.add((index, name))
            print(f"round {turn + 1} of {self.count}", file=sys.stderr)
        for table in tables:
            table.settle(self.count)
