"""Small uses of all that the native half asks memory for, by topic; importing adds to SCENES.

A scene gets a `Shortage`: within its `with` an allocation fails, whichever it is. What comes of it
is either what the scene expects, or an error that somebody is told of.
"""

import importlib

from .scene import SCENES as SCENES
from .scene import SHORT as SHORT

for topic in (
    "connections",
    "datagrams",
    "futures",
    "loops",
    "processes",
    "sockets",
    "tasks",
    "tls",
    "transports",
):
    importlib.import_module(f".{topic}", __name__)
