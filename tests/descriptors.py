import os


def open_fds():
    """What every descriptor of this process refers to.

    Without libffi's: ctypes' first callback has it open its own file, for as long as the process
    lives, to map its trampolines from.
    """
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            file = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the descriptor of the listing itself
        if not os.path.basename(file).startswith("libffi.so."):
            fds[int(name)] = file
    return fds
