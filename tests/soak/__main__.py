"""Mixed work for a long time, after which nothing may have grown.

python -m tests.soak [--seconds N] [--seed S] [--only KIND,…] [--loop asyncio] [--record]
"""

import argparse
import asyncio
import sys

import penstock

from tests.soak import note
from tests.soak.figures import Figures
from tests.soak.soak import Failure, Soak
from tests.soak.work import KINDS

SECONDS = 3600
SEED = 1


def kinds(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in KINDS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(KINDS)}")
    return names


def show(seconds: float, figures: Figures) -> None:
    census = figures.census
    print(
        f"{seconds:7.0f} s: {figures.jobs:,} jobs; {len(census.fds)} descriptors, "
        f"{len(census.tasks)} tasks, {len(census.threads)} threads, "
        f"{figures.resident / 2**20:.1f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, usage=argparse.SUPPRESS, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"{SECONDS}")
    parser.add_argument("--seed", type=int, default=SEED, help="what is chosen depends on it alone")
    parser.add_argument("--only", type=kinds, metavar="KIND,…", help="of the kinds of work")
    parser.add_argument("--loop", choices=("asyncio", "penstock"), default="penstock")
    parser.add_argument("--record", action="store_true", help=f"write the figures into {note.NAME}")
    options = parser.parse_args()
    if options.record and (options.only or options.loop != "penstock"):
        parser.error("--record needs every kind of work, on penstock")

    factory = asyncio.new_event_loop
    if options.loop == "penstock":
        penstock.install()
        factory = penstock.new_event_loop
    soak = Soak(options.seed, options.seconds, options.only)
    soak.show = show
    print(f"seed {options.seed}, {options.seconds:g} s", flush=True)
    failure = None
    with asyncio.Runner(loop_factory=factory) as runner:
        try:
            runner.run(soak.run())
        except Failure as error:
            failure = error
    for name in soak.kinds:
        print(f"{name:26} {soak.done[name]:9,} {soak.cancelled[name]:9,} cancelled")
    if failure is not None:
        print(f"soak: seed {options.seed}: {failure}", file=sys.stderr)
        sys.exit(1)
    print(f"nothing has grown in {soak.jobs:,} jobs")
    if options.record:
        note.record(soak)


if __name__ == "__main__":
    main()
