"""Count the instructions of the hot paths, and compare them with what is recorded.

python benchmarks/instructions.py BUILD [--record]

`./dev instructions` calls it with the folder that it has built the micro benchmarks in. Times do
not reproduce on a machine that others use; the instructions that callgrind counts do, as long as
compiler, C library and interpreter are the same. instructions.json has what was counted with each
set of these. More by the tolerance is a failure: mend it, or --record it if the change is worth it.
With a set that is not recorded yet nothing is compared.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from counted import COUNT

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "instructions.json"
ITERATIONS = 1000  # kIterations of core/base/testing/bench.h
TOLERANCE = 0.02

Counts = dict[str, float]


def counted(command: Sequence[str | Path], times: int) -> Counts:
    """Instructions of each case that the command marks, divided by how often it was done."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", "--quiet"]
        # Python's tables have the order of hashes, which are others each time.
        done = subprocess.run(
            [*valgrind, *command],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"penstock: status {done.returncode} of {command}\n{done.stderr}")
        texts = [path.read_text() for path in Path(folder).iterdir() if path != profile]
    return dict(sorted(summary(text, times) for text in texts))


def summary(profile: str, times: int) -> tuple[str, float]:
    """The case that a profile is of, and its count."""
    name = re.search(r"^desc: Trigger: Client Request: (.*)$", profile, re.M)
    # "totals" has in it what was under way before the case began.
    total = re.search(r"^summary: (\d+)$", profile, re.M)
    assert name and total, profile[:1000]
    return name[1], round(int(total[1]) / times, 1)


def compiler(benches: Path) -> str:
    """What the C++ was compiled by, and the C library that it runs with."""
    said = subprocess.run([benches, "--version"], check=True, capture_output=True, text=True)
    return f"{said.stdout.strip()}, {platform.machine()}, {' '.join(platform.libc_ver())}"


def interpreter() -> str:
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    how = [word for word in ("optimizations", "lto") if word in arguments]
    return " ".join([f"CPython {platform.python_version()}", platform.python_compiler(), *how])


def compared(now: Counts, before: Counts) -> tuple[list[str], bool]:
    """A line a case, and whether all is well."""
    lines, is_well = [], True
    for name, count in now.items():
        recorded = before.get(name)
        if recorded is None:
            lines.append(f"FAILED count; {name}: {count:,.1f} is not recorded")
        elif count > recorded * (1 + TOLERANCE):
            lines.append(f"FAILED count; {name}: {count:,.1f}, recorded {recorded:,.1f}")
        else:
            fewer = " (fewer: --record it)" if count < recorded * (1 - TOLERANCE) else ""
            lines.append(f"ok {name}: {count:,.1f}, recorded {recorded:,.1f}{fewer}")
            continue
        is_well = False
    for name in before.keys() - now.keys():
        lines.append(f"FAILED count; {name} is recorded, but there is no such case")
        is_well = False
    return lines, is_well


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--record", action="store_true", help="these are the counts from now on")
    options = parser.parse_args()
    benches, marks = options.build / "core_benches", options.build / "libmarks.so"
    cxx = compiler(benches)
    sets = {
        cxx: counted([benches], ITERATIONS),
        f"{interpreter()}; {cxx}": counted([sys.executable, HERE / "counted.py", marks], COUNT),
    }
    recorded: dict[str, Counts] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    all_well = True
    for made_by, counts in sets.items():
        print(f"Instructions with {made_by}:")
        if options.record or made_by not in recorded:
            print("\n".join(f"{name}: {count:,.1f}" for name, count in counts.items()))
            if not options.record:
                print("Nothing is recorded to compare these with: ./dev instructions --record")
        else:
            lines, is_well = compared(counts, recorded[made_by])
            print("\n".join(lines))
            all_well &= is_well
    if options.record:
        RECORDED.write_text(json.dumps(recorded | sets, indent=2, sort_keys=True) + "\n")
    elif not all_well:
        sys.exit("penstock: ./dev instructions --record records what is meant to be so")


if __name__ == "__main__":
    main()
