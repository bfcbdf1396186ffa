"""Measure penstock beside the other loops of this interpreter, and write down what came out.

Takes the arguments of `penstock bench`. Prints its report, and writes it into benchmarks/RESULTS.md
and benchmarks/results.svg if every area was measured in full; with --readme the short table into
README.md too.
"""

import shlex
import sys
from pathlib import Path

import picture
import report
from penstock.bench import machine
from penstock.cli import bench

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = bench.parser("benchmarks/run.py")
    parser.add_argument("--readme", action="store_true", help="put the short table into README.md")
    options = parser.parse_args()
    whole = not options.quick and not options.areas
    if options.readme and not whole:
        parser.error("--readme needs every area in full")
    rounds = bench.rounds_of(options)
    if missing := {"asyncio", "penstock"}.difference(rounds.peers):
        parser.error(f"the report needs {' and '.join(sorted(missing))}")

    facts = machine.facts(rounds.peers)
    facts["rounds"] = str(rounds.count)
    facts["command"] = f"`{shlex.join(['python', 'benchmarks/run.py', *sys.argv[1:]])}`"
    tables = bench.measure(options, rounds)
    text = report.results(tables, rounds.peers, facts)
    if whole:
        (HERE / "RESULTS.md").write_text(text)
        (HERE / "results.svg").write_text(picture.drawn(tables, rounds.peers))
    if options.readme:
        readme = HERE.parent / "README.md"
        new = report.section(tables, rounds.peers, facts)
        readme.write_text(report.put_section(readme.read_text(), new))
    print(text)


if __name__ == "__main__":
    main()
