"""Twin: the metaclass of classes that stand for asyncio's while penstock is installed."""

from __future__ import annotations

from typing import Any

_stock: dict[type, type] = {}


class Twin(type):
    """Its classes say that instances of the asyncio class they derive from are theirs.

    So `isinstance(lock, asyncio.Lock)` holds for locks that were made before `install()`. Classes
    that a program derives from a twin are ordinary ones.
    """

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        if namespace.get("__module__", "").startswith("penstock."):
            _stock[cls] = next(base for base in cls.__mro__[1:] if type(base) is not Twin)

    def __instancecheck__(cls, instance: object) -> bool:
        return super().__instancecheck__(instance) or (
            cls in _stock and isinstance(instance, _stock[cls])
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return super().__subclasscheck__(subclass) or (
            cls in _stock and issubclass(subclass, _stock[cls])
        )


def get_state(primitive: Any, *names: str) -> dict[str, Any]:
    """What copy and pickle take of a primitive: its dict, and these of its native attributes.

    Raises TypeError where tasks wait for it, whose futures asyncio's couldn't take along either.
    """
    queues = ("_waiters", "_getters", "_putters")
    if any(getattr(primitive, queue, None) for queue in queues):
        raise TypeError(f"cannot copy or pickle {primitive!r}: tasks wait for it")
    return {**primitive.__dict__, **{name: getattr(primitive, name) for name in names}}


def set_state(primitive: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(primitive, name, value)
