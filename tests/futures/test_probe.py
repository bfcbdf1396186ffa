"""The probe at import knows each field of CPython's structs that ours share with it.

Where a struct is laid out in another way, what stands at an offset is another field's value or
nothing. So each field in turn is changed in the probe's own objects, just before it looks.
"""

import _asyncio
import asyncio
import contextvars
import ctypes
import gc
import importlib.util
import itertools
import subprocess
import sys
import warnings

import pytest
from penstock import _core

pytestmark = [
    pytest.mark.skipif(not _core.native_task, reason=f"no native Task: {_core.why_stock_task}"),
    pytest.mark.filterwarnings("ignore:penstock runs without its native Task:RuntimeWarning"),
]


class Head(ctypes.Structure):
    _fields_ = [("refcount", ctypes.c_ssize_t), ("type", ctypes.c_void_p)]


def pointers(names):
    return [(name, ctypes.c_void_p) for name in names.split()]


def bits(names):
    return [(name, ctypes.c_uint, 1) for name in names.split()]


def ints(names):
    return [(name, ctypes.c_int) for name in names.split()]


def flags(names):
    return [(name, ctypes.c_char) for name in names.split()]


# As binding/futures/layout.h and binding/py/context.h have them.
FUTURE = pointers(
    "loop callback0 context0 callbacks exception exception_tb result source_tb cancel_msg"
)
TASK = pointers("waiter coro name context")
if sys.version_info >= (3, 13):
    FUTURE += pointers("cancelled_exc")
    if sys.version_info >= (3, 14):
        FUTURE += pointers("awaited_by") + ints("state") + flags("is_task awaited_by_is_set")
        TASK += pointers("node_next node_prev")
    else:
        FUTURE += ints("state")
    FUTURE += bits("log_tb blocking")
    TASK = bits("must_cancel log_destroy_pending") + ints("cancels_requested") + TASK
else:
    FUTURE += ints("state log_tb blocking") + pointers("dict weakrefs cancelled_exc")
    TASK += ints("must_cancel log_destroy_pending cancels_requested")
CONTEXT = [*pointers("previous vars weakrefs"), *ints("entered")]


class Future(Head):
    _fields_ = FUTURE


class Task(Head):
    _fields_ = FUTURE + TASK


class Context(Head):
    _fields_ = CONTEXT


def ways(fields, unseen=()):
    """(field, what becomes of it): nothing, something, and what stands in the next of its kind."""
    for field in fields:
        name, kind = field[:2]
        others = [other[0] for other in fields if other[1] is kind]
        for way in ("nothing", "something", *others[others.index(name) + 1 :][:1]):
            if (name, way) not in unseen:
                yield pytest.param(name, way, id=f"{name}-{way}")


def change(struct, name, way):
    kind = dict(field[:2] for field in struct._fields_)[name]
    old = getattr(struct, name)
    if way == "nothing":
        setattr(struct, name, b"\0" if kind is ctypes.c_char else 0)
    elif way == "something":
        known = {ctypes.c_void_p: id(None), ctypes.c_char: b"\1"}
        setattr(struct, name, known.get(kind, 1))
    else:
        setattr(struct, name, getattr(struct, way))
        setattr(struct, way, old)


def structs(objects, kind):
    """Those of the probe's objects that have such a struct."""
    if kind is Context:
        return [Context.from_address(id(objects["context"]))]
    futures = [thing for thing in objects.values() if isinstance(thing, _asyncio.Future)]
    futures += objects["sharing"]
    tasks = [thing for thing in futures if isinstance(thing, _asyncio.Task)]
    if kind is Task:
        return [Task.from_address(id(task)) for task in tasks]
    return [Future.from_address(id(future)) for future in futures]


class Disturbed:
    """Changes the probe's objects between their making and its look at them, and puts them back."""

    def __init__(self, kind, name, way):
        self.change = kind, name, way
        self.saved = []

    def __call__(self, frame, event, _):
        place = frame.f_code.co_filename, frame.f_code.co_name, event
        if place == ("<string>", "<module>", "return") and "leave_quietly" in frame.f_globals:
            kind, *how = self.change
            for struct in {ctypes.addressof(s): s for s in structs(frame.f_globals, kind)}.values():
                self.saved.append((struct, bytes(struct)))
                change(struct, *how)
        elif place == ("<string>", "leave_quietly", "call"):
            self.put_back()

    def put_back(self):
        skip = ctypes.sizeof(Head)  # the reference count may have changed for good
        for struct, saved in self.saved:
            at = ctypes.addressof(struct) + skip
            ctypes.memmove(at, saved[skip:], len(saved) - skip)

    def __enter__(self):
        gc.disable()
        sys.setprofile(self)

    def __exit__(self, *_):
        sys.setprofile(None)
        gc.enable()


def loaded(disturbed):
    """A module of its own, probed as it is loaded."""
    spec = importlib.util.spec_from_file_location(_core.__name__, _core.__file__)
    module = importlib.util.module_from_spec(spec)
    with disturbed:
        spec.loader.exec_module(module)
    assert disturbed.saved, "the probe was not met"
    return module


def test_undisturbed_it_is_content():
    module = loaded(Disturbed(Context, "vars", "vars"))
    assert module.native_task and module.why_stock_task is None


class Interrupted(Disturbed):
    """Ctrl-C before the probe's line of that number."""

    def __init__(self, number):
        self.left = number
        self.saved = True

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename != "<string>" or event != "line":
            return self
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self

    def __enter__(self):
        sys.settrace(self)

    def __exit__(self, *_):
        sys.settrace(None)


def test_interrupted_it_draws_no_conclusion():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that it had no use for yet
        for number in itertools.count(1):
            interrupted = Interrupted(number)
            try:
                loaded(interrupted)
                break
            except KeyboardInterrupt:
                assert asyncio._get_running_loop() is None
                gc.collect()
    assert interrupted.left > 0 and number > 50


IMPORTS = """
import asyncio

async def main():
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    import penstock
    assert asyncio.get_running_loop() is loop and asyncio.current_task() is task
    await asyncio.sleep(0.001)
    await asyncio.create_task(asyncio.sleep(0))
    assert penstock.Task is not asyncio.Task
    print("goes on")

asyncio.run(main())
"""


def test_a_task_that_imports_goes_on():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("goes on\n", "")


@pytest.mark.parametrize(("name", "way"), list(ways(FUTURE)))
def test_every_field_of_a_future(name, way):
    module = loaded(Disturbed(Future, name, way))
    assert not module.native_task
    assert module.why_stock_task.startswith("the layout of asyncio's Future and Task is not the")


# A ring that is linked the other way round is as good a ring, to those who only link and unlink.
ALIKE = {("node_next", "node_prev")}


@pytest.mark.parametrize(("name", "way"), list(ways(TASK, ALIKE)))
def test_every_field_of_a_task(name, way):
    module = loaded(Disturbed(Task, name, way))
    assert not module.native_task
    assert module.why_stock_task.startswith("the layout of asyncio's Future and Task is not the")


# They are nothing in the one object that can be disturbed.
UNSEEN = {(name, "nothing") for name in ("previous", "weakrefs", "entered")}


@pytest.mark.parametrize(("name", "way"), list(ways(CONTEXT, UNSEEN)))
def test_every_field_of_a_context(name, way):
    module = loaded(Disturbed(Context, name, way))
    assert module.why_stock_task.startswith("the layout of contextvars.Context is not the")


def test_the_structs_here_are_as_long_as_theirs():
    for struct, kind in ((Future, _asyncio.Future), (Task, _asyncio.Task)):
        assert ctypes.sizeof(struct) == kind.__basicsize__
    assert ctypes.sizeof(Context) == contextvars.Context.__basicsize__


class Frame(ctypes.Structure):
    """The head of 3.11's _PyInterpreterFrame, as binding/futures/site.h has it."""

    _fields_ = pointers(
        "function globals builtins locals code frame_object previous previous_instruction"
    )


class FrameObject(Head):
    _fields_ = pointers("back frame")


class DisturbedFrame(Disturbed):
    """Changes the frame that calls the probe's look() before it looks, and puts it back before
    anybody else does."""

    def __call__(self, frame, event, argument):
        name = frame.f_code.co_filename, frame.f_code.co_name, event
        if name == ("<string>", "call", "c_call") and argument.__name__ == "look":
            head = Frame.from_address(FrameObject.from_address(id(frame)).frame)
            self.saved.append((head, bytes(head)))
            _, *how = self.change
            change(head, *how)
        elif name == ("<string>", "where", "call"):
            self.put_back()

    def put_back(self):
        for head, saved in self.saved:
            ctypes.memmove(ctypes.addressof(head), saved, len(saved))


async def nothing():
    pass


def record_of_a_task(module):
    """Of one that was made, and cancelled, by this module's own loop."""
    loop = module.Loop()
    try:
        coroutine = nothing()
        task = module.Task(coroutine, loop=loop)
        task.cancel()
        coroutine.close()
        task._log_destroy_pending = False
        return module.task_record(task)
    finally:
        loop._close()


only_3_11 = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="CPython tells what frames hold from 3.12 on"
)


@only_3_11
def test_undisturbed_it_tells_where_a_task_comes_from():
    record = record_of_a_task(loaded(DisturbedFrame(Frame, "code", "code")))
    code = record_of_a_task.__code__
    assert record["spawn_code"] is code and record["cancelled"]["code"] is code
    assert 0 < record["spawn_offset"] < record["cancelled"]["offset"] < len(code.co_code)


@only_3_11
@pytest.mark.parametrize(
    ("name", "way"),
    [
        (name, way)
        for name, *others in (
            ("code", "function", "frame_object"),
            ("previous_instruction", "previous"),
        )
        for way in ("nothing", "something", *others)
    ],
)
def test_every_field_of_a_frame(name, way):
    module = loaded(DisturbedFrame(Frame, name, way))
    assert module.native_task and module.why_stock_task is None
    record = record_of_a_task(module)
    assert record["spawn_code"] is None and record["spawn_offset"] == 0
    assert record["cancelled"]["code"] is None and record["cancelled"]["offset"] == 0
