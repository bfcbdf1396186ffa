"""Twin: the metaclass of classes that stand for asyncio's while penstock is installed."""

from __future__ import annotations

from abc import ABCMeta
from typing import TYPE_CHECKING, Any, Protocol

# A class has one metaclass, which derives from those of all its bases: the program's classes may
# have abstract classes and protocols among theirs.
if TYPE_CHECKING:
    _Meta = ABCMeta
else:
    _Meta = type(Protocol)

_stock: dict[type, type] = {}


class Twin(_Meta):
    """Its classes say that instances of the asyncio class they derive from are theirs.

    So `isinstance(lock, asyncio.Lock)` holds for locks that were made before `install()`. Classes
    that a program derives from a twin are ordinary ones, and no protocols.
    """

    def __init__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> None:
        super().__init__(name, bases, namespace, **options)
        if namespace.get("__module__", "").startswith("penstock."):
            _stock[cls] = next(base for base in cls.__mro__[1:] if type(base) is not Twin)
        if not any(isinstance(base, ABCMeta) and type(base) is not Twin for base in cls.__mro__):
            # Where no base is abstract, @abstractmethod says nothing.
            cls.__abstractmethods__ = frozenset()

    def __instancecheck__(cls, instance: object) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        if cls in _stock:
            return isinstance(instance, _stock[cls])
        return ABCMeta.__instancecheck__(cls, instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        if type.__subclasscheck__(cls, subclass):
            return True
        if cls in _stock:
            return issubclass(subclass, _stock[cls])
        return ABCMeta.__subclasscheck__(cls, subclass)


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
