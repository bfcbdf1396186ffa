"""What the figures were measured on: they mean little without it."""

import importlib.metadata
import os
import platform

import loops


def cpu_model() -> str:
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip().lower() in ("model name", "hardware", "cpu"):
                return value.strip()
    return platform.machine()


def facts() -> dict[str, str]:
    peers = [name for name in loops.installed() if name != "asyncio"]
    return {
        "CPU": cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load average before": f"{os.getloadavg()[0]:.2f}",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_version()}, {platform.python_compiler()}",
        **{name: importlib.metadata.version(name) for name in peers},
    }
