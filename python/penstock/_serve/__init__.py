"""The HTTP server: `penstock serve`, `penstock.serve()` and `penstock.Server`."""

from .config import Config, ConfigError
from .server import Server, serve

__all__ = ["Config", "ConfigError", "Server", "serve"]
