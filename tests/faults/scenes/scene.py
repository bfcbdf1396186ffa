"""What a scene is, and what several use."""

import asyncio

SCENES = {}
SHORT = []  # the one of the scene that plays, for protocols to tell what they are told


def scene(function):
    SCENES[function.__name__] = function
    return function


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


async def returns(value):
    return value


async def waits(future):
    return await future


async def first_failure(tasks):
    """Their results, or the error of the first that fails, for which the others may wait."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        return [task.result() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
