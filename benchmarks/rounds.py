"""Rounds of measurements: each in a fresh process, the loops in turns, ratios within a round.

Absolute figures differ from machine to machine and from minute to minute. Two loops measured one
right after the other see the same machine, so what counts is the ratio of the two; a round gives
one such ratio, and we report the median of the rounds' ratios with the lowest and the highest.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple, TypeVar

import loops

SECONDS_FOR_ONE = 120.0

Case = TypeVar("Case")


class Ratio(NamedTuple):
    """What penstock needs of what another loop needs; below 1 penstock needs less."""

    median: float
    lowest: float
    highest: float


@dataclass
class Row:
    """One operation: for each loop, a value a round."""

    name: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def value(self, loop: str) -> float:
        return median(self.values[loop])

    def ratio(self, peer: str) -> Ratio:
        pairs = zip(self.values["penstock"], self.values[peer], strict=True)
        ratios = [ours / theirs for ours, theirs in pairs]
        return Ratio(median(ratios), min(ratios), max(ratios))


@dataclass
class Table:
    """Rows in one unit, of which less is better."""

    title: str
    unit: str
    rows: dict[str, Row] = field(default_factory=dict)

    def add(self, row: str, loop: str, value: float) -> None:
        self.rows.setdefault(row, Row(row)).values.setdefault(loop, []).append(value)


def measured(script: str, *words: object) -> dict[str, float]:
    """The JSON that a script prints last when a fresh process of this interpreter runs it."""
    command = [sys.executable, script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_FOR_ONE)
    if done.returncode or not done.stdout:
        said = f"status {done.returncode}\n{done.stdout}{done.stderr}"
        raise RuntimeError(f"{' '.join(command[1:])} failed: {said}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def in_turns(cases: Sequence[Case], rounds: int, one: Callable[[Case, str], None]) -> None:
    """Call one(case, loop) for each case and loop, rounds times.

    The loops of a case follow each other directly, and each round begins with another of them, so
    that none is always the first to find the machine's caches and clock as the last case left them.
    """
    names = loops.installed()
    for turn in range(rounds):
        first = turn % len(names)
        for case in cases:
            for name in names[first:] + names[:first]:
                one(case, name)
        print(f"round {turn + 1} of {rounds}", file=sys.stderr)
