"""Which system call fails how, and what a program may make of it.

`python -m tests.faults.sweep [PROGRAM ...]` tries them all, as deep as PENSTOCK_FAULT_DEPTH says.
"""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent

# What the manual page of each call names and what can come of a kernel, a limit, a seccomp filter
# or a peer; not what only a wrong argument brings (EFAULT, ENOTSOCK), nor what tells of a state
# that an injected error can't bring about: EEXIST, ENOENT, EBADF and EPERM of epoll_ctl(2), which
# say that the file is another, closed or unfit, and which the loop acts upon
# (epoll_backend_test.cc has such files), and EAGAIN of a write to an eventfd, whose full counter
# wakes the loop too.
ERRORS = {
    "accept4": "EAGAIN EINTR ECONNABORTED EMFILE ENFILE ENOBUFS ENOMEM EPERM EPROTO ENETDOWN",
    "close": "EINTR EIO",
    "dup3": "EMFILE EBUSY",
    "epoll_create1": "EMFILE ENFILE ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_pwait2": "EINTR ENOSYS EPERM ENOMEM EBADF",
    "epoll_wait": "EINTR EBADF EINVAL ENOMEM",
    "eventfd": "EMFILE ENFILE ENODEV ENOMEM",
    "eventfd_read": "EAGAIN EINTR",
    "eventfd_write": "EINTR",
    "fcntl": "EMFILE EINVAL EPERM",
    "fstat": "ENOMEM EBADF EOVERFLOW",
    "getpeername": "ENOTCONN ENOBUFS",
    "getsockname": "ENOBUFS",
    "pidfd_open": "EMFILE ENFILE ENODEV ENOMEM ENOSYS EPERM",
    "pthread_create": "EAGAIN EPERM",
    "read": "EAGAIN EINTR EIO ECONNRESET",
    "recv": "EAGAIN EINTR ECONNREFUSED ECONNRESET ENOMEM ETIMEDOUT ENOTCONN",
    "recvfrom": "EAGAIN EINTR ECONNREFUSED ENOMEM ENETDOWN",
    "send": "EAGAIN EINTR ECONNRESET ENOBUFS ENOMEM EPIPE ETIMEDOUT EHOSTUNREACH",
    "sendmsg": "EAGAIN EINTR ECONNRESET ENOBUFS ENOMEM EPIPE EMSGSIZE",
    "sendto": "EAGAIN EINTR ECONNREFUSED EACCES EMSGSIZE ENOBUFS ENOMEM ENETUNREACH EPERM",
    "setsockopt": "ENOPROTOOPT ENOMEM EINVAL",
    "shutdown": "ENOTCONN ENOBUFS",
    "socketpair": "EMFILE ENFILE EOPNOTSUPP",
    "write": "EAGAIN EINTR EPIPE EIO ENOSPC EDQUOT",
    "writev": "EAGAIN EINTR EPIPE EIO ENOSPC",
}
# EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_NONAME, EAI_SYSTEM
RESOLVER_ERRORS = (-3, -4, -10, -2, -11)

# The loop's own calls, which asyncio does not make or has no words for: whoever fails of them says
# so. What concerns a connection comes in asyncio's words.
NAMED = {
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "eventfd",
    "fcntl",
    "fstat",
    "pidfd_open",
    "socketpair",
}

# What a client sees of a connection whose other end has met the fault.
LOSSES = {
    "BrokenPipeError",
    "ConnectionError",
    "ConnectionResetError",
    "IncompleteReadError",
    "SSLEOFError",
}


def codes(call):
    if call == "getaddrinfo":
        return RESOLVER_ERRORS
    return tuple(getattr(errno, name) for name in ERRORS[call].split())


def compiler():
    return shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


@cache
def library(name):
    """The path of a library to preload, made of `name`.cc, and its folder: this process' own."""
    folder = tempfile.TemporaryDirectory(prefix=f"penstock-{name}-")
    built = str(Path(folder.name) / f"{name}.so")
    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-o", built]
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    command = [compiler(), *options, str(HERE / f"{name}.cc"), "-ldl"]
    subprocess.run(command, check=True, env=environment)
    return built, folder


def run(program, fault=None, counts=None):
    environment = dict(os.environ, LD_PRELOAD=library("seam")[0], PYTHONFAULTHANDLER="1")
    if sanitizer := os.environ.get("LD_PRELOAD"):
        # Behind the seam, which else would take its interceptors for the callers.
        environment["LD_PRELOAD"] += " " + sanitizer
        options = os.environ.get("ASAN_OPTIONS", "")
        environment["ASAN_OPTIONS"] = f"{options}:verify_asan_link_order=0"
    if fault is not None:
        environment["PENSTOCK_FAULT"] = ":".join(map(str, fault))
    if counts is not None:
        environment["PENSTOCK_FAULT_COUNTS"] = str(counts)
    command = [sys.executable, "-W", "ignore", str(HERE / "programs.py"), program]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=10, check=False
    )


def calls(program):
    """How often the program makes which call."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts"
        done = run(program, counts=path)
        if done.stdout != "ok\n":
            raise AssertionError(f"{program} without a fault: {done.stdout}{done.stderr}")
        counted = {name: int(count) for name, count in map(str.split, path.open())}
    # A child's calls come behind its parent's, which are all that is counted.
    more = 3 if program == "fork" else 0
    return {name: count + more for name, count in counted.items() if count + more > 0}


def faults(program, depth):
    return [
        (call, number, code)
        for call, count in calls(program).items()
        for number in range(1, min(count, depth) + 1)
        if call in ERRORS or call == "getaddrinfo"
        for code in codes(call)
    ]


def wrong(program, fault):
    """What is wrong with how the program ends with that fault; None where nothing is."""
    call, _, code = fault
    try:
        done = run(program, fault)
    except subprocess.TimeoutExpired as late:
        return f"hangs: {late.stdout} {late.stderr}"
    said = f"{done.stdout}{done.stderr}"
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        return f"ends with {done.returncode}: {said}"
    if any(line.startswith("left") for line in lines):
        return f"leaves descriptors: {said}"
    for line in lines:
        if line == "ok":
            continue
        _, kind, number, *text = line.split(" ", 3)
        if kind in LOSSES or (call == "pthread_create" and kind == "RuntimeError"):
            continue
        if number != str(code) and not (call == "getaddrinfo" and number == str(errno.EMFILE)):
            return f"raises something else: {said}"
        if call in NAMED and f"({call})" not in " ".join(text):
            return f"does not name the call: {said}"
    return None


def main():
    from tests.faults.programs import PROGRAMS

    depth = int(os.environ.get("PENSTOCK_FAULT_DEPTH", "3"))
    tried = bad = 0
    for program in sys.argv[1:] or PROGRAMS:
        for fault in faults(program, depth):
            tried += 1
            if (found := wrong(program, fault)) is not None:
                bad += 1
                call, number, code = fault
                print(f"-- {program} {call}:{number}:{code} {errno.errorcode.get(code)} {found}")
    print(tried, "faults,", bad, "wrong")


if __name__ == "__main__":
    main()
