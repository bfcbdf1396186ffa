"""Finding the application: `module:attribute`, a factory, or an object as it is."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import Any

from .config import Config, ServerError
from .static import StaticFiles


def load(app: Any, config: Config) -> Any:
    """The application, as an ASGI 3 callable. Raises ServerError where there is none."""
    if isinstance(app, str):
        app = _imported(app, config.app_dir)
    if config.factory:
        app = _made(app)
    interface = _interface(app) if config.interface == "auto" else config.interface
    app = adapted(app, interface, config)
    if config.static and interface != "aiohttp":
        return StaticFiles(app, config.static, follow_symlinks=config.static_follow_symlinks)
    return app


def _imported(name: str, directory: str) -> Any:
    module_name, colon, attributes = name.partition(":")
    if not module_name or not colon or not attributes:
        raise ServerError(
            f"{name!r} names no application: write module:attribute, as in 'app:app' for "
            "`app = …` in app.py"
        )
    path = os.path.abspath(directory or ".")
    if path not in sys.path:
        sys.path.insert(0, path)
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # of something that the application imports
        raise ServerError(
            f"there is no module {module_name!r} in {path}: is that the right directory? "
            "(--app-dir)"
        ) from None
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise ServerError(f"module {module_name!r} has no {attributes!r}") from None
    return found


def _made(factory: Any) -> Any:
    if not callable(factory):
        raise ServerError(f"--factory: {factory!r} can't be called")
    return factory()


def _interface(app: Any) -> str:
    module = sys.modules.get("aiohttp.web")
    if module is not None and isinstance(app, module.Application):
        return "aiohttp"
    if inspect.isclass(app):
        return "asgi2"
    if not callable(app):
        raise ServerError(f"{app!r} is no application: it can't be called")
    call = app if inspect.isfunction(app) else type(app).__call__
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return "asgi3"
    parameters = _parameters(app)
    if parameters == 3:
        return "asgi3"
    if parameters == 2:
        return "wsgi"
    return "asgi2" if parameters == 1 else "asgi3"


def _parameters(app: Any) -> int:
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return 3
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(
        1
        for parameter in signature.parameters.values()
        if parameter.kind in kinds and parameter.default is inspect.Parameter.empty
    )


def adapted(app: Any, interface: str, config: Config) -> Any:
    """`app`, which speaks `interface`, as an ASGI 3 callable."""
    if interface == "asgi3":
        return app
    if interface == "asgi2":

        async def asgi3(scope: Any, receive: Any, send: Any) -> None:
            await app(scope)(receive, send)

        return asgi3
    if interface == "wsgi":
        from .wsgi import WsgiAdapter

        return WsgiAdapter(
            app,
            config.wsgi_threads,
            config.limit_wsgi_spool,
            multiprocess=bool(config.workers),
        )
    from .aiohttp_app import AiohttpAdapter

    return AiohttpAdapter(app, config)
