"""Futures and their callbacks."""

import asyncio
import contextlib
import contextvars

from .scene import scene, turns


@scene
async def a_future(short):
    loop = asyncio.get_running_loop()
    came = []
    with short:
        future = loop.create_future()
        future.add_done_callback(came.append)
        future.add_done_callback(lambda future: came.append(future))
        future.add_done_callback(came.append, context=contextvars.Context())
        future.set_result(1)
        repr(future)
        await turns()
        short.expect(len(came) == 3)


@scene
async def a_failed_future(short):
    loop = asyncio.get_running_loop()
    with short:
        future = loop.create_future()
        future.set_exception(ValueError("x"))
        with contextlib.suppress(ValueError):
            await future
        repr(future)
        other = loop.create_future()
        other.set_exception(ValueError)
        short.expect(isinstance(other.exception(), ValueError))
        third = loop.create_future()
        third.cancel("x")
        try:
            third.result()
        except asyncio.CancelledError as said:
            short.expect(said.args == ("x",))


@scene
async def a_lost_exception(short):
    loop = asyncio.get_running_loop()
    with short:
        future = loop.create_future()
        future.set_exception(ValueError("x"))
        del future  # the report is _asyncio's own, which says nothing where memory is out


@scene
async def callbacks_of_a_future(short):
    loop = asyncio.get_running_loop()
    came = []
    future = loop.create_future()
    callbacks = [lambda _, i=i: came.append(i) for i in range(4)]
    for callback in callbacks:
        future.add_done_callback(callback)
    with short:
        short.expect(future.remove_done_callback(callbacks[3]) == 1)
        future.set_result(None)
        await turns()
        short.expect(came == [0, 1, 2])
