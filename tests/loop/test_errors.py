"""The exception handler API."""

import asyncio
import contextvars
import logging

import pytest

variable = contextvars.ContextVar("variable", default="unset")


def fail():
    raise ZeroDivisionError("by zero")


def run_briefly(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_a_handler_gets_the_loop_and_the_report(loop):
    reports = []
    handler = lambda *args: reports.append(args)  # noqa: E731
    assert loop.get_exception_handler() is None
    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    handle = loop.call_soon(fail)
    run_briefly(loop)
    ((given_loop, report),) = reports
    assert given_loop is loop
    assert report["message"].startswith("Exception in callback fail() at ")
    assert isinstance(report["exception"], ZeroDivisionError)
    assert report["handle"] is handle
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


def test_handlers_must_be_callable(loop):
    with pytest.raises(TypeError, match="^A callable object or None is expected, got 5$"):
        loop.set_exception_handler(5)


def test_the_default_handler_logs_every_key(loop, caplog):
    loop.call_exception_handler(
        {"message": "it broke", "exception": ValueError("why"), "zeta": 1, "alpha": "text"}
    )
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncio", logging.ERROR)
    assert record.getMessage() == "it broke\nalpha: 'text'\nzeta: 1"
    assert record.exc_info[0] is ValueError


def test_a_report_without_a_message(loop, caplog):
    loop.default_exception_handler({})
    (record,) = caplog.records
    assert record.getMessage() == "Unhandled exception in event loop"
    assert not record.exc_info


def test_stacks_are_shown(loop, caplog):
    import traceback

    stack = traceback.extract_stack(limit=1)
    loop.default_exception_handler(
        {"message": "m", "source_traceback": stack, "handle_traceback": stack}
    )
    lines = "".join(traceback.format_list(stack)).rstrip()
    assert caplog.records[0].getMessage() == (
        f"m\nhandle_traceback: Handle created at (most recent call last):\n{lines}"
        f"\nsource_traceback: Object created at (most recent call last):\n{lines}"
    )


def test_debug_mode_says_where_the_running_handle_was_made(loop, caplog):
    loop.set_debug(True)
    loop.call_soon(loop.call_exception_handler, {"message": "from a callback"})
    run_briefly(loop)
    assert "Handle created at (most recent call last)" in caplog.text
    assert "test_debug_mode_says_where_the_running_handle_was_made" in caplog.text


def test_a_failing_handler_is_reported_by_the_default_one(loop, caplog):
    loop.set_exception_handler(lambda loop, report: fail())
    loop.call_exception_handler({"message": "first"})
    (record,) = caplog.records
    assert record.getMessage() == (
        "Unhandled error in exception handler\ncontext: {'message': 'first'}"
    )
    assert record.exc_info[0] is ZeroDivisionError


def test_a_failing_default_handler_is_logged(loop, caplog, monkeypatch):
    class Failing(type(loop)):
        def default_exception_handler(self, context):
            fail()

    failing = Failing()
    failing.call_exception_handler({"message": "first"})
    failing.set_exception_handler(lambda loop, report: fail())
    failing.call_exception_handler({"message": "second"})
    failing.close()
    assert [record.getMessage() for record in caplog.records] == [
        "Exception in default exception handler",
        "Exception in default exception handler while handling an unexpected error "
        "in custom exception handler",
    ]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_exits_pass_through_handlers(loop, kind):
    def handler(loop, report):
        raise kind

    loop.set_exception_handler(handler)
    with pytest.raises(kind):
        loop.call_exception_handler({"message": "m"})


@pytest.mark.asyncio_since(3, 12)
class TestContext:
    """The handler sees the context variables of what failed."""

    @pytest.fixture
    def seen(self, loop):
        seen = []
        loop.set_exception_handler(lambda loop, report: seen.append(variable.get()))
        return seen

    def test_of_a_handle(self, loop, seen):
        context = contextvars.copy_context()
        context.run(variable.set, "the handle's")
        loop.call_soon(fail, context=context)
        run_briefly(loop)
        assert seen == ["the handle's"]

    @pytest.mark.task_since(3, 12)
    def test_of_a_task_that_nobody_awaited(self, loop, seen):
        async def failing():
            variable.set("the task's")
            fail()

        task = loop.create_task(failing())
        run_briefly(loop)
        run_briefly(loop)
        assert task.done()
        del task
        assert seen == ["the task's"]

    def test_of_an_asynchronous_callback(self, loop, seen):
        async def main():
            future = loop.create_future()
            variable.set("when it was added")
            future.add_done_callback(lambda _: fail())
            variable.set("later")
            future.set_result(None)
            await asyncio.sleep(0)

        loop.run_until_complete(main())
        assert seen == ["when it was added"]

    def test_a_report_may_name_what_has_no_context(self, loop, seen):
        loop.call_exception_handler({"message": "m", "future": loop.create_future()})
        loop.call_exception_handler({"message": "m", "task": object()})
        assert seen == ["unset", "unset"]
