"""penstock's classes stand for asyncio's: identity both ways, subclasses, copy and pickle."""

import asyncio
import copy
import pickle

import penstock
import pytest


def test_identity_both_ways(pair_of_classes):
    stock, native = pair_of_classes
    assert isinstance(native(), stock)
    assert isinstance(stock(), native)
    assert issubclass(native, stock)
    assert issubclass(stock, native)
    assert not isinstance(object(), native)
    assert not isinstance(asyncio.locks.Barrier(1), native)


def test_a_subclass_is_an_ordinary_class(pair_of_classes):
    stock, native = pair_of_classes

    class Sub(native):
        pass

    assert isinstance(Sub(), (Sub, native, stock))
    assert not isinstance(native(), Sub)
    assert not isinstance(stock(), Sub)
    assert Sub().__class__ is Sub


def test_attributes_can_be_set(pair_of_classes):
    for cls in pair_of_classes:
        made = cls()
        made.note = 1
        assert made.note == 1


def test_copied_and_pickled_before_anybody_waits(pair_of_classes):
    for cls in pair_of_classes:
        made = cls()
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


def test_made_without_init(pair_of_classes):
    _, native = pair_of_classes
    made = native.__new__(native)
    with pytest.raises(AttributeError, match=r"__init__\(\) was not called"):
        repr(made)


def test_install_puts_them_in_place_and_back():
    before = {name: getattr(asyncio, name) for name in ("Lock", "Queue", "Event")}
    penstock.install()
    try:
        for name in before:
            assert getattr(asyncio, name) is getattr(penstock, name)
        assert isinstance(asyncio.Condition()._lock, penstock.Lock)
    finally:
        penstock.uninstall()
    assert before == {name: getattr(asyncio, name) for name in before}
