"""What programs do all day, `count` times. Each operation is a coroutine function of its own."""

from collections.abc import Callable, Coroutine
from typing import Any

Operation = Callable[[int], Coroutine[Any, Any, None]]


async def nothing() -> None:
    pass
