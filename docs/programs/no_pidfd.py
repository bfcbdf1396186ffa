"""A subprocess where pidfd_open(2) is refused, as by the seccomp profiles of old runtimes."""

import asyncio
import ctypes
import struct
import threading

import penstock

PIDFD_OPEN = 434  # on every architecture
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL_WITH_EPERM = 0x7FFF0000, 0x00050001
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2


def refuse_pidfd_open() -> None:
    filters = (
        (LOAD_NUMBER, 0, 0, 0),
        (JUMP_IF_EQUAL, 0, 1, PIDFD_OPEN),
        (RETURN, 0, 0, FAIL_WITH_EPERM),
        (RETURN, 0, 0, ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in filters))
    program = struct.pack("HxxxxxxP", len(filters), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter can be set here")


async def main() -> None:
    child = await asyncio.create_subprocess_shell("read line; echo $line", stdin=-1)
    print([thread.name for thread in threading.enumerate()[1:]], flush=True)
    await child.communicate(b"hello\n")
    print("exit code", child.returncode)


refuse_pidfd_open()
penstock.run(main())
