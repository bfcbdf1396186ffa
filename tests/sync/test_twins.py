"""penstock's classes stand for asyncio's: identity both ways, subclasses, copy and pickle."""

import abc
import asyncio
import copy
import pickle
from typing import Protocol

import penstock
import pytest


def test_identity_both_ways(pair_of_classes, arguments):
    stock, native = pair_of_classes
    assert isinstance(native(*arguments), stock)
    assert isinstance(stock(*arguments), native)
    assert issubclass(native, stock)
    assert issubclass(stock, native)
    assert not isinstance(object(), native)
    assert not isinstance(asyncio.TaskGroup(), native)


def test_a_subclass_is_an_ordinary_class(pair_of_classes, arguments):
    stock, native = pair_of_classes

    class Sub(native):
        pass

    made = Sub(*arguments)
    for cls in (Sub, native, stock):
        assert isinstance(made, cls)
    assert not isinstance(native(*arguments), Sub)
    assert not isinstance(stock(*arguments), Sub)
    assert made.__class__ is Sub


class Named(Protocol):
    def named(self): ...


def test_a_subclass_may_be_abstract_and_keep_a_protocol(pair_of_classes, arguments):
    for cls in pair_of_classes:

        class Abstract(cls, abc.ABC):
            @abc.abstractmethod
            def named(self): ...

        class Made(Abstract, Named):
            def named(self):
                return "made"

        with pytest.raises(TypeError, match="abstract"):
            Abstract(*arguments)
        made = Made(*arguments)
        assert made.named() == "made"
        for base in (*pair_of_classes[: 1 + (cls is not pair_of_classes[0])], Abstract, abc.ABC):
            assert isinstance(made, base)
        assert not isinstance(cls(*arguments), Abstract)

        class Other:
            pass

        Abstract.register(Other)
        assert isinstance(Other(), Abstract)
        assert issubclass(Other, Abstract)
        assert not issubclass(Other, cls)


def test_an_abstract_method_of_an_ordinary_class_hinders_nobody(pair_of_classes, arguments):
    for cls in pair_of_classes:

        class Ordinary(cls):
            @abc.abstractmethod
            def named(self): ...

        assert Ordinary(*arguments).named() is None


def test_a_subclass_with_options(pair_of_classes, arguments):
    for cls in pair_of_classes:

        class Base(cls):
            def __init_subclass__(cls, *, note="none", **options):
                super().__init_subclass__(**options)
                cls.note = note

        class Sub(Base, note="some"):
            pass

        assert (Base(*arguments) and Sub.note) == "some"


def test_attributes_can_be_set(pair_of_classes, arguments):
    for cls in pair_of_classes:
        made = cls(*arguments)
        made.note = 1
        assert made.note == 1


def test_copied_and_pickled_before_anybody_waits(pair_of_classes, arguments):
    for cls in pair_of_classes:
        made = cls(*arguments)
        made.note = 1
        if isinstance(made, asyncio.locks.Event):
            made.set()
        if isinstance(made, asyncio.queues.Queue):
            made.put_nowait("item")
        for again in (copy.copy(made), pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
            assert type(again) is cls
            assert again.note == 1
            shown = (repr(one).partition(" [")[2] for one in (made, again))
            assert len(set(shown)) == 1
            if isinstance(made, asyncio.queues.Queue):
                assert again.qsize() == 1


async def test_not_while_somebody_waits():
    lock = penstock.Lock()
    await lock.acquire()
    task = asyncio.create_task(lock.acquire())
    await asyncio.sleep(0)
    with pytest.raises(TypeError, match="tasks wait for it"):
        copy.copy(lock)
    lock.release()
    await task


async def test_a_deep_copy_of_a_condition_has_a_lock_of_its_own(primitives):
    condition = primitives.Condition()
    for again in (copy.deepcopy(condition), pickle.loads(pickle.dumps(condition))):
        assert type(again._lock) is type(condition._lock) is primitives.Lock
        async with again:
            assert again.locked()
            assert not condition.locked()
        assert not again.locked()
    shallow = copy.copy(condition)
    async with shallow:
        assert condition.locked()


def test_made_without_init(pair_of_classes):
    _, native = pair_of_classes
    made = native.__new__(native)
    message = r"__init__\(\) was not called" if hasattr(native, "_native") else "no attribute"
    with pytest.raises(AttributeError, match=message):
        repr(made)


def test_install_puts_them_in_place_and_back():
    names = ("Lock", "Queue", "Event", "Condition", "Barrier")
    before = {name: getattr(asyncio, name) for name in names}
    penstock.install()
    try:
        for name in before:
            assert getattr(asyncio, name) is getattr(penstock, name)
        assert isinstance(asyncio.Condition()._lock, penstock.Lock)
    finally:
        penstock.uninstall()
    assert before == {name: getattr(asyncio, name) for name in before}
