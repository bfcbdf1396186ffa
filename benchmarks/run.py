"""Measure penstock beside asyncio and, if it is installed, uvloop, on this interpreter.

python benchmarks/run.py [--only scheduling,echo,tls,memory] [--rounds N] [--quick] [--readme]

Prints its tables, and writes them into benchmarks/RESULTS.md if every area was measured in full.
Takes some ten minutes; --quick, which only shows that everything works, a few seconds a round.
"""

import argparse
import datetime
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import echo
import loops
import machine
import memory
import report
import scheduling
import tls
from rounds import Table

HERE = Path(__file__).resolve().parent
AREAS: dict[str, Callable[[int, bool], list[Table]]] = {
    "scheduling": scheduling.measure,
    "echo": echo.measure,
    "tls": tls.measure,
    "memory": memory.measure,
}


def areas(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in AREAS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(AREAS)}")
    return names


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", type=areas, default=list(AREAS), metavar="AREA,…")
    parser.add_argument("--rounds", type=positive, help="5; 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="small numbers: a check, no figures")
    parser.add_argument("--readme", action="store_true", help="put the short table into README.md")
    options = parser.parse_args()
    whole = not options.quick and set(options.only) == set(AREAS)
    if options.readme and not whole:
        parser.error("--readme needs every area in full")
    if "penstock" not in loops.installed():
        parser.error("this interpreter has no penstock: pip install .")

    rounds = options.rounds or (1 if options.quick else 5)
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    facts = {"date": date, **machine.facts()}
    tables: list[Table] = []
    for area in (name for name in AREAS if name in options.only):
        print(area, file=sys.stderr)
        tables += AREAS[area](rounds, options.quick)

    names = loops.installed()
    text = report.results(tables, names, facts, command, rounds)
    if whole:
        (HERE / "RESULTS.md").write_text(text)
    if options.readme:
        readme = HERE.parent / "README.md"
        new = report.section(tables, names, facts, "python benchmarks/run.py")
        readme.write_text(report.put_section(readme.read_text(), new))
    print(text)


if __name__ == "__main__":
    main()
