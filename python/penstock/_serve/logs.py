"""Logging: `penstock.server` tells of the server, `penstock.access` of each request."""

from __future__ import annotations

import configparser
import json
import logging
import logging.config
import sys
import tomllib
import traceback
from http import HTTPStatus
from pathlib import Path
from typing import Any

from .access_log import escaped, log_json
from .config import Config, ServerError

TRACE = 5  # below DEBUG, as uvicorn has it
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_COLOURS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 91}

# What logging.config raises for what it can't use.
_UNUSABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    KeyError,
    RuntimeError,
    configparser.Error,
)

access = logging.getLogger("penstock.access")
server = logging.getLogger("penstock.server")


class LevelFormatter(logging.Formatter):
    """`INFO:     message`, coloured where that is asked for."""

    def __init__(self, colours: bool = False) -> None:
        super().__init__("%(levelprefix)s %(message)s")
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname
        prefix = f"{level}:"
        if self._colours:
            prefix = f"\033[{_COLOURS.get(level, 0)}m{level}\033[0m:"
        record.levelprefix = prefix + " " * (8 - len(level))
        return super().format(record)


def configure(config: Config) -> None:
    """Set logging up as the options say. Raises ServerError where the file can't be used."""
    logging.addLevelName(TRACE, "TRACE")
    level = TRACE if config.log_level == "trace" else config.log_level.upper()
    if config.log_config:
        _configure_by(config.log_config)
    else:
        for logger, stream in ((server, sys.stderr), (access, sys.stdout)):
            colours = stream.isatty() if config.use_colors is None else config.use_colors
            handler = logging.StreamHandler(stream)
            has_format = config.access_log_format is not None or config.access_log_json
            is_plain = logger is access and has_format
            handler.setFormatter(
                logging.Formatter("%(message)s") if is_plain else LevelFormatter(colours)
            )
            logger.handlers[:] = [handler]
            logger.propagate = False
    logging.getLogger("penstock").setLevel(level)
    # From 3.15 on traceback imports its parts when it first needs them: too late to tell that
    # descriptors have run out.
    traceback.format_exception(ValueError())


def _configure_by(path: str | dict[str, Any]) -> None:
    try:
        if isinstance(path, dict):
            logging.config.dictConfig(path)
        elif path.endswith(".json"):
            logging.config.dictConfig(json.loads(Path(path).read_text()))
        elif path.endswith(".toml"):
            logging.config.dictConfig(tomllib.loads(Path(path).read_text()))
        else:
            logging.config.fileConfig(path, disable_existing_loggers=False)
    except _UNUSABLE as error:
        name = "the dictionary" if isinstance(path, dict) else path
        raise ServerError(f"log_config: {name} can't be used: {error}") from error


def access_logger(config: Config) -> Any:
    """What logs a request: (scope, status, bytes, seconds), and the response's headers where it has
    a true `needs_headers`."""
    if config.access_log_json:
        return log_json
    return config.access_log_format or log_access


def log_access(scope: dict[str, Any], status: int, sent: int, seconds: float) -> None:
    """One line for a request, as uvicorn has it; args are its parts."""
    client = scope["client"]
    query = scope["query_string"]
    # As it came; but an application, or aiohttp's parser, may have let pass what forges a line.
    target = scope["raw_path"] + (b"?" + query if query else b"")
    access.info(
        '%s - "%s %s HTTP/%s" %s',
        f"{client[0]}:{client[1]}" if client else "",
        scope.get("method", "GET"),  # a websocket's has none
        escaped(target.decode("latin-1")),
        scope["http_version"],
        f"{status} {_PHRASES.get(status, '')}".rstrip(),
    )


def log_error(
    message: str, exception: BaseException | None, task: Any, scope: dict[str, Any] | None
) -> None:
    """What an application has failed by, with the task that it ran in."""
    where = ""
    if scope is not None:
        target = escaped(scope["raw_path"].decode("latin-1"))
        where = f" in {scope.get('method', 'GET')} {target}"
    if task is not None:
        where += f" ({task.get_name()})"
    server.error("%s%s", message, where, exc_info=exception)
