"""What the figures were measured on: they mean little without it."""

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence


def cpu_model() -> str:
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip().lower() in ("model name", "hardware", "cpu"):
                return value.strip()
    return platform.machine()


def version(peer: str) -> str:
    try:
        return importlib.metadata.version(peer.partition("_")[0])
    except importlib.metadata.PackageNotFoundError:
        return "not known"


def facts(peers: Sequence[str]) -> dict[str, str]:
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "CPU": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_version()}, {platform.python_compiler()}",
        **{name: version(name) for name in peers if name != "asyncio"},
    }
