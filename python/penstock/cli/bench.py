"""`penstock bench`: penstock beside the other loops of this interpreter, on this machine."""

import argparse
import sys

from penstock.bench import areas, machine, output, peers
from penstock.bench.process import Failed
from penstock.bench.rounds import Rounds, Table

ROUNDS = 3


def parser(prog: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=prog,
        description="Measure penstock beside asyncio and the other loops that are installed.",
        epilog="All of it takes some five minutes, with --quick one. The load is on loopback "
        "only. Less is better but for throughput; of a ratio, below 1 penstock does better.",
    )
    made.add_argument(
        "areas",
        nargs="*",
        type=area,
        metavar="AREA",
        help=f"one or more of {', '.join(areas.NAMES)}; all if none is named",
    )
    made.add_argument(
        "--loops",
        type=loops,
        metavar="LOOP,...",
        help=f"of {', '.join(peers.NAMES)}; all that are installed if none is named,"
        " but penstock_uring",
    )
    made.add_argument("--rounds", type=positive, metavar="N", help=f"{ROUNDS}; 1 with --quick")
    made.add_argument("--quick", action="store_true", help="small numbers: a look, no figures")
    return made


def area(text: str) -> str:
    if text not in areas.NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(areas.NAMES)}")
    return text


def loops(text: str) -> list[str]:
    installed = [*peers.installed(), peers.BY_NAME]
    for name in text.split(","):
        if name not in peers.NAMES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(peers.NAMES)}")
        if name not in installed:
            raise argparse.ArgumentTypeError(f"{name} is not installed: pip install {name}")
    return [name for name in peers.NAMES if name in text.split(",")]


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds")
    return int(text)


def rounds_of(options: argparse.Namespace) -> Rounds:
    count = options.rounds or (1 if options.quick else ROUNDS)
    return Rounds(options.loops or peers.installed(), count, options.quick)


def measure(options: argparse.Namespace, rounds: Rounds) -> list[Table]:
    """The tables of the areas that are asked for, or of all, in order."""
    tables = []
    for name in areas.NAMES:
        if not options.areas or name in options.areas:
            print(name, file=sys.stderr)
            tables += areas.area(name).measure(rounds)
    return tables


def command(words: list[str]) -> int:
    line = parser("penstock bench")
    line.add_argument("--json", action="store_true", help="every value of every round, as JSON")
    options = line.parse_args(words)
    rounds = rounds_of(options)
    facts = machine.facts(rounds.peers)
    try:
        tables = measure(options, rounds)
    except Failed as error:
        print(f"penstock bench: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(output.as_json(tables, rounds.peers, facts))
        return 0
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(f"{name:{width}}  {fact}")
    for table in tables:
        print(f"\n{output.text(table, rounds.peers)}", end="")
    return 0
