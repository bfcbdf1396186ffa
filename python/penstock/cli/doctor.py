"""`penstock doctor`: what this kernel and this Python give, which parts are in use, and why.

Each finding is one line. A finding marked `slow` keeps penstock from full speed and makes the exit
status 1; the rest is for the reader of a bug report.
"""

import os
import platform
import resource
import sys
import sysconfig
from collections.abc import Iterator
from typing import Any, NamedTuple

USAGE = "usage: penstock doctor\n"


class Finding(NamedTuple):
    name: str
    what: str
    slow: bool = False


def command(words: list[str]) -> int:
    """Print every finding; 1 if any of them costs speed."""
    if words:
        print(f"penstock doctor takes no arguments\n{USAGE}", end="", file=sys.stderr)
        return 2
    findings = list(_findings())
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "slow" if finding.slow else "ok"
        print(f"{mark:4}  {finding.name:{width}}  {finding.what}")
    return int(any(finding.slow for finding in findings))


def _findings() -> Iterator[Finding]:
    import penstock
    from penstock import _core

    yield Finding("penstock", f"{penstock.__version__} ({os.path.dirname(penstock.__file__)})")
    yield from _python()
    yield Finding("kernel", f"{platform.system()} {platform.release()} {platform.machine()}")
    yield _backend(penstock)
    yield _scheduler(penstock, _core)
    yield _tls(_core)
    yield from _switches()
    yield _open_files()
    yield _install(penstock)


def _python() -> Iterator[Finding]:
    implementation = platform.python_implementation()
    build = " ".join(platform.python_build())
    yield Finding(
        "python", f"{implementation} {platform.python_version()} ({build}; {sys.executable})"
    )
    yield Finding("compiler", platform.python_compiler())
    if sysconfig.get_config_var("Py_DEBUG"):
        yield Finding("python build", "a debug build of Python checks every object", slow=True)
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        gil = getattr(sys, "_is_gil_enabled", lambda: True)()
        state = "with the GIL switched on" if gil else "without the GIL"
        yield Finding("python build", f"free-threaded, running {state}")


def _backend(penstock: Any) -> Finding:
    try:
        loop = penstock.new_event_loop()
    except ValueError as error:
        return Finding("backend", f"none: {error}", slow=True)
    try:
        return Finding("backend", ": ".join(loop._backend()))
    finally:
        loop.close()


def _scheduler(penstock: Any, core: Any) -> Finding:
    import asyncio
    from asyncio import tasks

    stock = {getattr(tasks, "_CTask", None), getattr(tasks, "_PyTask", None)}
    if penstock.Task in stock:
        why = f"the standard library's Task and Future: {core.why_stock_task}"
        return Finding("scheduler", why, slow=True)
    if not issubclass(penstock.Task, asyncio.Task):
        return Finding("scheduler", "native, but asyncio.Task has been replaced by another library")
    return Finding("scheduler", "native Task and Future, subclasses of _asyncio's")


def _tls(core: Any) -> Finding:
    try:
        import ssl
    except ImportError:
        return Finding("tls", "none: this Python was built without OpenSSL")
    is_direct, why = core.tls_path()
    if is_direct:
        return Finding("tls", f"{ssl.OPENSSL_VERSION}, its functions called directly")
    return Finding("tls", f"{ssl.OPENSSL_VERSION}, by ssl.MemoryBIO: {why}", slow=True)


def _switches() -> Iterator[Finding]:
    """Settings of this environment under which every program runs slower."""
    if os.environ.get("PYTHONASYNCIODEBUG") and not sys.flags.ignore_environment:
        yield Finding("debug mode", "PYTHONASYNCIODEBUG is set: loops check every call", slow=True)
    if sys.flags.dev_mode:
        yield Finding("debug mode", "Python's development mode (-X dev) is on", slow=True)
    if sys.gettrace() is not None or sys.getprofile() is not None:
        yield Finding("tracing", "a debugger, profiler or coverage tool traces calls", slow=True)


def _open_files() -> Finding:
    soft, hard = (
        "no limit" if limit == resource.RLIM_INFINITY else f"{limit:,}"
        for limit in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return Finding("open files", f"{soft} now, {hard} at most (ulimit -n): one a connection")


def _install(penstock: Any) -> Finding:
    import asyncio

    loop = asyncio.new_event_loop()
    loop.close()
    if isinstance(loop, penstock.Loop):
        return Finding("install", "active: the names in asyncio are penstock's")
    return Finding(
        "install", "not active in this process; penstock run and penstock.install() activate it"
    )
