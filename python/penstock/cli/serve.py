"""`penstock serve APP`: an HTTP server for ASGI and WSGI applications, and aiohttp's."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from penstock import __version__, install
from penstock._serve.config import Config, ServerError, checked, from_environment, from_file
from penstock._serve.options import BY_NAME, OPTIONS, Option


def command(words: list[str]) -> int:
    """Serve until a signal; 2 for what the operator has to mend."""
    given = vars(_parser().parse_args(words))
    app = given.pop("app")
    path = given.pop("config") or os.environ.get("PENSTOCK_CONFIG")
    try:
        options = _options(given, path)
        app = app or os.environ.get("PENSTOCK_APP")
        if app is None:
            raise ServerError("no application is named: penstock serve module:attribute")
        install()
        _serve(app, options)
    except ServerError as error:
        print(f"penstock serve: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _serve(app: str, options: dict[str, Any]) -> None:
    from penstock._serve.server import serve

    serve(app, **options)


def _options(given: dict[str, Any], path: str | None) -> dict[str, Any]:
    """The command line before the environment before the file."""
    options = from_file(path) if path else {}
    flags = {
        name: checked(BY_NAME[name], value, BY_NAME[name].flag)
        for name, value in given.items()
        if value is not None
    }
    named = (flags, {"env_file": os.environ.get("PENSTOCK_ENV_FILE")}, options)
    env_file = next(filter(None, (each.get("env_file") for each in named)), None)
    if env_file:
        _load_environment(env_file)
    options.update(from_environment(os.environ))
    options.update(flags)
    Config(**options)  # says what is wrong before anything is imported
    return options


def _load_environment(path: str) -> None:
    """NAME=value lines into the environment, where they do not replace what is there."""
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise ServerError(f"can't read {path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise ServerError(f"{path}, line {number}: it has to read NAME=value")
        os.environ.setdefault(name.strip(), value.strip().strip("'\""))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock serve",
        description="Serves an ASGI or WSGI application, or an aiohttp web.Application.",
        epilog="Each option is read from PENSTOCK_… variables and from a TOML file too.",
        allow_abbrev=False,
    )
    parser.add_argument("app", nargs="?", metavar="APP", help="module:attribute, as in app:app")
    parser.add_argument("--config", metavar="FILE", help="TOML file with these options")
    parser.add_argument("--version", action="version", version=f"penstock {__version__}")
    groups: dict[str, Any] = {}
    for option in OPTIONS:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _add(groups[option.group], option)
    return parser


def _add(group: Any, option: Option) -> None:
    default = option.default
    if isinstance(default, tuple):
        default = ",".join(default)
    shown = f" [{default}]" if default not in (None, "", False, True) else ""
    text = option.help.replace("%", "%%") + shown
    if option.takes_word:
        group.add_argument(
            option.flag, nargs="?", const=True, default=None, metavar="BOOLEAN", help=text
        )
        group.add_argument(
            option.flag.replace("--", "--no-", 1),
            dest=option.name,
            action="store_false",
            default=None,
            help=argparse.SUPPRESS,
        )
    elif option.is_flag:
        group.add_argument(
            option.flag, action=argparse.BooleanOptionalAction, default=None, help=text
        )
    elif option.is_many:
        group.add_argument(option.flag, action="append", default=None, metavar="VALUE", help=text)
    else:
        group.add_argument(option.flag, default=None, metavar="VALUE", help=text)
