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
import time

# For a thread that has done its work: asyncio's child watcher tells of an end before its own, and
# gRPC closes what it has opened in threads of its own.
SECONDS_TO_END = float(os.environ.get("SECONDS_TO_END", "3"))


def files() -> dict[str, str]:
    """What is open, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the folder itself
            continue
    return found


def lasting() -> set[str]:
    """What libraries keep open for as long as the process lives.

    multiprocessing does so with its tracker, and libffi, for ctypes' callbacks, with its own file.
    """
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    kept = {str(tracker.getfd())} if tracker is not None else set()
    libffi = {n for n, file in files().items() if os.path.basename(file).startswith("libffi.so.")}
    return kept | libffi


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
        for thread in set(threading.enumerate()) - threads:
            thread.join(SECONDS_TO_END)
            if thread.is_alive():
                left.append(f"thread {thread!r}")
        gc.collect()
        known = before.keys() | lasting()
        until = time.monotonic() + SECONDS_TO_END
        while opened := [file for number, file in files().items() if number not in known]:
            if time.monotonic() > until:
                break
            time.sleep(0.01)
        left.extend(f"file {file}" for file in opened)
        with open(report, "w") as output:
            output.writelines(f"{line}\n" for line in left)


if __name__ == "__main__":
    main()
