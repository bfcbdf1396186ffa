"""python -m tests.conformance [--loop asyncio] [-k GLOB] [-l] [module …]: tells of each failure."""

import argparse
import collections
import sys
import time

from . import suite


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance")
    parser.add_argument("--loop", choices=["penstock", "asyncio"], default="penstock")
    parser.add_argument("-k", metavar="GLOB", help="only the tests whose id this names")
    parser.add_argument("-l", "--list", action="store_true", help="only the failures' ids")
    parser.add_argument("modules", nargs="*", help="e.g. test_futures; default: all")
    arguments = parser.parse_args()

    missing = suite.why_unavailable()
    if missing:
        print(f"skipped: {missing}")
        return 0
    modules = suite.modules(arguments.modules)
    if not modules:
        parser.error(f"no such module among: {' '.join(suite.modules())}")
    total: collections.Counter[str] = collections.Counter()
    problems = 0
    started = time.perf_counter()
    for report in suite.run_all(modules, arguments.loop, arguments.k):
        counts = collections.Counter(report.outcomes.values())
        total += counts
        problems += len(report.problems)
        seconds = time.perf_counter() - started
        print(f"{report.module:45} {_said(counts):60} {seconds:6.1f} s", flush=True)
        for problem in report.problems:
            print(f"  {problem.splitlines()[0]}" if arguments.list else f"\n{problem}")
    print(f"{'all':45} {_said(total)}; problems: {problems}")
    return int(problems > 0)


def _said(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
