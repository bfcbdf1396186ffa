"""Mixed work for a long time, after which nothing may have grown.

python -m tests.soak [loop|http] [--seconds N] [--seed S] [--only KIND,…] [--loop asyncio]
    [--record]
"""

import argparse
import asyncio
import sys

import penstock

from tests.soak import note
from tests.soak.figures import Figures
from tests.soak.soak import Failure, Soak
from tests.soak.work import LOOPS, SUBJECTS

SEED = 1


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
    parser.add_argument("subject", nargs="?", choices=SUBJECTS, default="loop", help="loop")
    lengths = ", ".join(f"{subject.seconds} of {name}" for name, subject in SUBJECTS.items())
    parser.add_argument("--seconds", type=float, help=lengths)
    parser.add_argument("--seed", type=int, default=SEED, help="what is chosen depends on it alone")
    parser.add_argument("--only", metavar="KIND,…", help="of the kinds of work")
    parser.add_argument("--loop", choices=LOOPS, default="penstock")
    parser.add_argument("--record", action="store_true", help=f"write the figures into {note.NAME}")
    options = parser.parse_args()
    if options.record and (options.only or options.loop != "penstock"):
        parser.error("--record needs every kind of work, on penstock")
    subject = SUBJECTS[options.subject]
    if options.loop not in subject.loops:
        parser.error(f"{options.subject} needs the loop of {', '.join(subject.loops)}")
    only = options.only.split(",") if options.only else None
    for name in only or ():
        if name not in subject.kinds:
            parser.error(f"{name!r} is none of {', '.join(subject.kinds)}")
    seconds = options.seconds or subject.seconds

    factory = asyncio.new_event_loop
    if options.loop == "penstock":
        penstock.install()
        factory = penstock.new_event_loop
    soak = Soak(options.seed, seconds, only, options.subject)
    soak.show = show
    print(f"seed {options.seed}, {seconds:g} s", flush=True)
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
    if soak.summary:
        print(soak.summary)
    print(f"nothing has grown in {soak.jobs:,} jobs")
    if options.record:
        note.record(soak)


if __name__ == "__main__":
    main()
