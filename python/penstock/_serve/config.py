"""A server's options, checked."""

from __future__ import annotations

import difflib
import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .options import BY_NAME, OPTIONS, PLURALS, UNBOUNDED, Option, connections, field


class ServerError(Exception):
    """What was asked for can't be: the message says what is wrong, and what to do."""

    __module__ = "penstock"


class Config(SimpleNamespace):
    """One attribute for each option of penstock._serve.options."""

    limit_concurrency: Any
    server_header: bool
    date_header: bool

    def __init__(self, **given: Any) -> None:
        """Take keyword arguments; those not given have their defaults. That of limit_concurrency is
        made here, of the descriptors that this process may have.

        Raises ServerError for a name that is no option, and for a value that can't be.
        """
        super().__init__(**{option.name: option.default for option in OPTIONS})
        for name, value in given.items():
            option = find(PLURALS.get(name, name), f"option {name!r}")
            if value is None:
                value = 0 if option.name in UNBOUNDED else option.default
            setattr(self, option.name, checked(option, value, name))
        if self.limit_concurrency is None:
            self.limit_concurrency = connections()
        if self.h11_max_incomplete_event_size is not None:
            self.limit_head = self.h11_max_incomplete_event_size
        # The operator's own, instead of ours.
        given_names = {name.lower() for name, _ in self.header}
        self.server_header = self.server_header and b"server" not in given_names
        self.date_header = self.date_header and b"date" not in given_names
        if self.http2:
            raise ServerError(f"http2 is {BY_NAME['http2'].help}: leave it out")
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ServerError("ssl_keyfile is the key of a certificate: give ssl_certfile too")
        if self.ssl_cert_reqs != "none" and not (self.ssl_certfile and self.ssl_ca_certs):
            # Without the one, all are served who come; without the other, nobody is who has one.
            raise ServerError(
                f"ssl_cert_reqs={self.ssl_cert_reqs!r} has clients' certificates checked: give "
                "ssl_certfile, and in ssl_ca_certs what they are checked by"
            )
        if self.uds is not None and self.fd is not None:
            raise ServerError("uds and fd exclude each other: a server listens on one of them")
        if self.access_log_format is not None and self.access_log_json:
            raise ServerError("access_log_format and access_log_json exclude each other")


def find(name: str, what: str) -> Option:
    """The option of that name. Raises ServerError where there is none, with the nearest."""
    if name in BY_NAME:
        return BY_NAME[name]
    near = difflib.get_close_matches(name, BY_NAME, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ServerError(f"there is no {what}{hint}")


def checked(option: Option, value: Any, where: str) -> Any:
    """The value, which may be a text, as the option has it. Raises ServerError."""
    if option.is_many:
        values = [value] if isinstance(value, str | bytes) else list(value)
        return tuple(_checked(option, each, where) for each in values)
    return _checked(option, value, where)


def _checked(option: Option, value: Any, where: str) -> Any:
    if value is None or option.has_no_effect:
        return value
    if isinstance(value, tuple | list) and option.name == "header":
        return _field(value, where)
    if isinstance(value, tuple) and option.is_many:
        return value
    if isinstance(value, dict) and option.name == "log_config":
        return value
    if isinstance(value, int) and option.name == "log_level":
        value = "trace" if value == 5 else logging.getLevelName(value).lower()
    if isinstance(value, list | tuple) and isinstance(option.default, tuple):
        value = ",".join(map(str, value))
    elif isinstance(option.default, type(None)) and callable(value):
        return value  # what it has been made of before
    text = str(value) if isinstance(value, str | int | float | Path) else None
    if text is None:
        raise ServerError(f"{where}: {value!r} is no value for it: {option.help}")
    try:
        return option.parse(text)
    except ValueError as error:
        reason = str(error) if str(error).startswith("must") else f"must be: {option.help}"
        raise ServerError(f"{where}: {text!r} {reason}") from None


def _field(given: Any, where: str) -> tuple[bytes, bytes]:
    if len(given) != 2 or not all(isinstance(part, str | bytes) for part in given):
        raise ServerError(f"{where}: {given!r} must be a name and a value, str or bytes")
    try:
        return field(*given)
    except ValueError as error:
        raise ServerError(f"{where}: {given!r} {error}") from None


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The options that PENSTOCK_… variables set; lists are separated by line breaks."""
    found: dict[str, Any] = {}
    for option in OPTIONS:
        text = environment.get(option.variable)
        if text is not None:
            value = text.splitlines() if option.is_many else text
            found[option.name] = checked(option, value, option.variable)
    return found


def from_file(path: str) -> dict[str, Any]:
    """The options of a TOML file: at its top, in [serve], or in pyproject's [tool.penstock.serve].

    Raises ServerError where it can't be read.
    """
    try:
        content = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ServerError(f"can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ServerError(f"{path} is no TOML: {error}") from None
    if os.path.basename(path) == "pyproject.toml":
        content = content.get("tool", {}).get("penstock", {}).get("serve", {})
    else:
        content = content.get("serve", content)
    return {
        name.replace("-", "_"): checked(
            find(name.replace("-", "_"), f"option {name!r} (in {path})"), value, f"{path}: {name}"
        )
        for name, value in content.items()
        if name != "app"
    }


def without_effect(config: Config) -> list[str]:
    """What is said of the options that are taken for uvicorn's sake only, and were given."""
    return [
        f"{option.flag}: {option.help}"
        for option in OPTIONS
        if option.has_no_effect and getattr(config, option.name) != option.default
    ]


def workers(config: Config) -> int:
    """How many processes a supervisor is to start; 0: none, the server is this process."""
    if config.reload:
        if config.workers and config.workers > 1:
            raise ServerError("reload has one worker: leave workers out")
        return 1
    count: int | None = config.workers
    if count is None:
        try:
            count = int(os.environ.get("WEB_CONCURRENCY") or 0)
        except ValueError:
            raise ServerError("the variable WEB_CONCURRENCY must be a whole number") from None
    needs_one = config.limit_worker_lifetime or config.limit_worker_rss
    return max(count, 1 if needs_one else 0)
