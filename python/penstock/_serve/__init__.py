"""The HTTP server: `penstock serve`, `penstock.serve()` and `penstock.Server`."""

from .config import Config, ServerError
from .server import Server, serve

__all__ = ["Config", "Server", "ServerError", "serve"]
