"""watched.py PROGRAM [WORDS]: runs a program, then writes to $LEFT_BEHIND what it has left behind.

A line each: tasks that were not done when the program's main() was, and files and threads that are
there after the program, but were not before.
"""

import asyncio
import gc
import os
import runpy
import sys
import threading


def files() -> dict[str, str]:
    """What is open, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the folder itself
            continue
    return found


def main() -> None:
    del sys.argv[0]
    program = sys.argv[0]
    report = os.environ.pop("LEFT_BEHIND")
    sys.path[0] = os.path.dirname(program)
    left: list[str] = []
    close = asyncio.Runner.close

    def closing(self: asyncio.Runner) -> None:
        left.extend(f"task {task!r}" for task in asyncio.all_tasks(self.get_loop()))
        close(self)

    asyncio.Runner.close = closing  # type: ignore[method-assign]
    before, threads = files(), set(threading.enumerate())
    try:
        runpy.run_path(program, run_name="__main__")
    finally:
        gc.collect()
        left.extend(f"file {file}" for number, file in files().items() if number not in before)
        left.extend(
            f"thread {thread!r}" for thread in threading.enumerate() if thread not in threads
        )
        with open(report, "w") as output:
            output.writelines(f"{line}\n" for line in left)


if __name__ == "__main__":
    main()
