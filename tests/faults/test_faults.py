"""The native half's system calls, made to fail one by one: seam.cc, programs.py, sweep.py.

A sample, another one on each interpreter and backend and under a sanitizer; with
PENSTOCK_FAULT_DEPTH=n all errors of the first n calls of each name.
"""

import errno
import os
import random
import sys

import pytest

from tests.faults import sweep
from tests.faults.programs import PROGRAMS

DEPTH = int(os.environ.get("PENSTOCK_FAULT_DEPTH", "0"))
SAMPLED_DEPTH = 12
SAMPLES = 8  # a program; 0.1 s each
SEED = f"{sys.version_info[:2]} {os.environ.get('PENSTOCK_BACKEND')} {'LD_PRELOAD' in os.environ}"

pytestmark = pytest.mark.skipif(sweep.compiler() is None, reason="no C++ compiler for the seam")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_failing_call_ends_no_program_badly(program):
    every = sweep.faults(program, DEPTH or SAMPLED_DEPTH)
    if not DEPTH:
        every = random.Random(f"{SEED} {program}").sample(every, min(SAMPLES, len(every)))
    found = {":".join(map(str, fault)): sweep.wrong(program, fault) for fault in every}
    assert not {fault: what for fault, what in found.items() if what is not None}


# What was wrong once.
@pytest.mark.parametrize(
    ("program", "call", "number", "name"),
    [
        ("echo", "epoll_wait", 2, "EBADF"),  # the loop span
        ("fork", "epoll_create1", 2, "EMFILE"),  # the child span
        ("fork", "epoll_ctl", 5, "ENOMEM"),  # the child was deaf
        ("pipes", "epoll_ctl", 3, "ENOMEM"),  # a transport that could not begin stayed open, deaf
        ("udp", "epoll_ctl", 3, "ENOSPC"),
        ("pipes", "fcntl", 1, "EPERM"),  # its error named no call, as all below
        ("echo", "epoll_create1", 1, "EMFILE"),
        ("echo", "eventfd", 1, "ENFILE"),
        ("echo", "epoll_ctl", 1, "ENOMEM"),
        ("signals", "socketpair", 1, "EMFILE"),
        ("processes", "pidfd_open", 1, "EMFILE"),
        ("resolver", "eventfd_write", 1, "EINTR"),  # the loop slept on
    ],
)
def test_found_by_the_sweep(program, call, number, name):
    (code,) = (code for code in sweep.codes(call) if errno.errorcode[code] == name)
    assert sweep.wrong(program, (call, number, code)) is None
