"""A random play of tasks that wait for, wake, cancel and end each other: what it tells, in order.

Nothing in it depends on time (whoever is kept from the processor may find a timer due earlier), on
the network or on threads, so asyncio's rules settle the order of every line. A play is known by its
seed.
"""

import asyncio
import contextvars
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

ACTORS = 8
STEPS = 12  # of an actor, at most
SPAWNED = 40  # actors that others may start, at most
LONGEST_WAY = 12  # turns from one line to the next, through wait_for(), shield() and their like

STAGE = contextvars.ContextVar("STAGE", default="nobody")


class Play:
    def __init__(self, seed: int, is_eager: bool = False) -> None:
        self.rng = random.Random(seed)
        self.is_eager = is_eager
        self.told: list[str] = []
        self.actors: list[asyncio.Task[Any]] = []
        self.left_to_spawn = SPAWNED

    def tell(self, who: str, what: object) -> None:
        current = asyncio.current_task(self.loop)
        # "Task-N" is counted apart; an eager stock task of 3.13.0 is called "None".
        runs = current.get_name() if current is not None else "callback"
        runs = "unnamed" if runs.startswith("Task-") or runs == "None" else runs
        self.told.append(f"{who} [{STAGE.get()}, {runs}]: {what}")

    async def run(self) -> list[str]:
        loop = self.loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_error)
        if self.is_eager:
            loop.set_task_factory(asyncio.eager_task_factory)
        self.events = [asyncio.Event() for _ in range(2)]
        self.locks = [asyncio.Lock() for _ in range(2)]
        self.semaphore = asyncio.Semaphore(2)
        self.condition = asyncio.Condition()
        self.queue: asyncio.Queue[str] = asyncio.Queue(2)
        self.futures = [loop.create_future() for _ in range(4)]
        for number in range(ACTORS):
            self.start(f"a{number}")
        await self.wait_until_silent()
        while alive := [actor for actor in self.actors if not actor.done()]:
            self.tell("end", f"cancels {alive[0].get_name()}: {alive[0].cancel('the end')}")
            await self.wait_until_silent()
        for future in self.futures:
            future.cancel()
            if not future.cancelled():
                future.exception()
        return self.told

    async def wait_until_silent(self) -> None:
        """Ends once nothing has been told for as many turns as the longest way takes."""
        silent, lines = 0, len(self.told)
        while silent < LONGEST_WAY:
            await asyncio.sleep(0)
            silent, lines = (silent + 1 if lines == len(self.told) else 0), len(self.told)

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        what = f"{context['message'].split(' <')[0]}, {context.get('exception')!r}"
        if sys.version_info >= (3, 12):  # until then asyncio calls it in the loop's context
            self.tell("handler", what)
        else:
            self.told.append(f"handler: {what}")

    def start(self, name: str) -> "asyncio.Task[Any]":
        STAGE.set(name)
        task = self.loop.create_task(self.act(name), name=name)
        task.add_done_callback(lambda task: self.tell("done", f"{name} {self.fate(task)}"))
        self.actors.append(task)
        return task

    @staticmethod
    def fate(future: "asyncio.Future[Any]") -> str:
        if future.cancelled():
            return "cancelled"
        return repr(future.exception() or future.result())

    async def act(self, name: str) -> str:
        for step in range(self.rng.randint(1, STEPS)):
            choice = self.rng.choice(MOVES)
            what = f"{step} {choice.__name__}"
            self.tell(name, what)
            try:
                answer = await choice(self, name)
                self.tell(name, f"{what} -> {answer!r}")
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                assert task is not None
                self.tell(name, f"{what} cancelled {error.args} {task.cancelling()}")
                if self.rng.random() < 0.6:
                    raise
                task.uncancel()
            except (Fault, ExceptionGroup) as error:
                self.tell(name, f"{what} failed: {error!r}")
                if self.rng.random() < 0.3:
                    raise
        return f"{name} has ended"

    async def move_alone(self, name: str) -> object:
        """What gather() and its like run: one of the moves that end by themselves."""
        self.tell(name, "begins")
        STAGE.set(name)
        alone = self.rng.choice([sleeps, locks, takes_semaphore, fails, calls_soon])
        return await alone(self, name)

    async def passing(self) -> None:
        for _ in range(self.rng.randint(0, 3)):
            await asyncio.sleep(0)


class Fault(Exception):
    pass


Move = Callable[[Play, str], Awaitable[object]]
MOVES: list[Move] = []


def move(function: Move) -> Move:
    MOVES.append(function)
    return function


@move
async def sleeps(play: Play, name: str) -> object:
    return await asyncio.sleep(0, name)


@move
async def waits_for_event(play: Play, name: str) -> object:
    return await play.rng.choice(play.events).wait()


@move
async def sets_event(play: Play, name: str) -> object:
    event = play.rng.choice(play.events)
    event.set()
    if play.rng.random() < 0.5:
        event.clear()
    return event.is_set()


@move
async def locks(play: Play, name: str) -> object:
    async with play.rng.choice(play.locks):
        play.tell(name, "has the lock")
        await play.passing()
    return "released"


@move
async def takes_semaphore(play: Play, name: str) -> object:
    async with play.semaphore:
        await play.passing()
    return play.semaphore.locked()


@move
async def waits_for_condition(play: Play, name: str) -> object:
    async with play.condition:
        return await play.condition.wait()


@move
async def notifies(play: Play, name: str) -> object:
    async with play.condition:
        play.condition.notify(play.rng.randint(1, 2))
        await play.passing()
    return None


@move
async def puts(play: Play, name: str) -> object:
    return await play.queue.put(name)


@move
async def gets(play: Play, name: str) -> object:
    return await play.queue.get()


@move
async def waits_for_future(play: Play, name: str) -> object:
    return await play.rng.choice(play.futures)


@move
async def settles_future(play: Play, name: str) -> object:
    index = play.rng.randrange(len(play.futures))
    future, play.futures[index] = play.futures[index], play.loop.create_future()
    choice = play.rng.random()
    if choice < 0.2:
        return future.cancel(name)
    if choice < 0.4:
        future.set_exception(Fault(name))
        future.exception()
    else:
        play.loop.call_soon(lambda: future.done() or future.set_result(name))
    return future.done()


@move
async def starts(play: Play, name: str) -> object:
    if play.left_to_spawn == 0:
        return None
    play.left_to_spawn -= 1
    task = play.start(f"{name}.{play.left_to_spawn}")
    return await task if play.rng.random() < 0.5 else None


@move
async def cancels(play: Play, name: str) -> object:
    return play.rng.choice(play.actors).cancel(f"by {name}")


@move
async def waits_for_actor(play: Play, name: str) -> object:
    actor = play.rng.choice(play.actors)
    if actor is asyncio.current_task():
        return None
    if play.rng.random() < 0.5:
        return await asyncio.shield(actor)
    done, pending = await asyncio.wait([actor])
    return len(done), len(pending)


@move
async def gathers(play: Play, name: str) -> object:
    return await asyncio.gather(
        *(play.move_alone(f"{name}+{number}") for number in range(3)),
        return_exceptions=play.rng.random() < 0.5,
    )


@move
async def gathers_all_sorts(play: Play, name: str) -> object:
    """Futures that others wait for too, what is done already, the same twice, a gather() within."""
    rng = play.rng
    done = play.loop.create_future()
    done.set_result(name)
    within = asyncio.gather(play.move_alone(f"{name}-w"), *play.futures[:1], return_exceptions=True)
    task = play.loop.create_task(play.move_alone(f"{name}-t"), name=f"{name}-t")
    some: list[Any] = [done, within, task, play.move_alone(f"{name}-c"), *play.futures[1:3]]
    chosen = rng.choices(some, k=rng.randint(1, 6))
    outer = asyncio.gather(*chosen, return_exceptions=rng.random() < 0.5)
    # Each is asked for its outcome: when the collector finds one that wasn't is no matter of rules.
    for future, what in ((outer, "gathered"), (within, "within"), (task, "beside")):
        future.add_done_callback(
            lambda each, what=what: play.tell(name, f"{what} {play.fate(each)}")
        )
    for left in some:
        if asyncio.iscoroutine(left) and left not in chosen:
            left.close()
    victim = rng.choice([None, outer, within, task])
    if victim is not None:
        turns = rng.randint(0, 3)
        for _ in range(turns):
            await asyncio.sleep(0)
        play.tell(name, f"cancels {victim.cancel(f'{name} {turns}')}")
    try:
        return await outer
    finally:
        play.tell(name, f"{outer!r:.19} {[child.done() for child in outer._children]}")
        within.cancel()


@move
async def groups(play: Play, name: str) -> object:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(play.move_alone(f"{name}*{number}")) for number in range(3)]
        await play.passing()
    return [task.result() for task in tasks]


@move
async def groups_all_sorts(play: Play, name: str) -> object:
    """Groups that fail and are cancelled, from within and from without, one in another."""
    rng = play.rng

    class Own(asyncio.TaskGroup):
        def _abort(self) -> None:
            play.tell(name, f"aborts {sum(not task.done() for task in self._tasks)}")
            super()._abort()

    async def fill(name: str, depth: int) -> None:
        async with rng.choice([asyncio.TaskGroup, Own])() as group:
            for number in range(rng.randint(0, 4)):
                task = group.create_task(play.move_alone(f"{name}/{number}"), name=name)
                if rng.random() < 0.2:
                    play.loop.call_soon(task.cancel, name)
                await play.passing()
            if depth and rng.random() < 0.5:
                group.create_task(fill(f"{name}/", depth - 1))
            if rng.random() < 0.2:
                raise Fault(name)
        play.tell(name, f"{group!r}")

    current = asyncio.current_task()
    assert current is not None
    if rng.random() < 0.2:
        play.loop.call_soon(play.loop.call_soon, current.cancel, name)
    return await fill(name, 2)


@move
async def waits_without_limit(play: Play, name: str) -> object:
    return await asyncio.wait_for(play.move_alone(f"{name}~"), None)


@move
async def waits_with_a_limit(play: Play, name: str) -> object:
    limit = play.rng.choice([1000, 1000.5, 0, -1])
    try:
        return await asyncio.wait_for(play.move_alone(f"{name}^"), limit)
    except TimeoutError as late:
        return repr(late.__cause__)


@move
async def waits_for_a_future_with_a_limit(play: Play, name: str) -> object:
    limit = play.rng.choice([1000, None])
    return await asyncio.wait_for(asyncio.shield(play.rng.choice(play.futures)), limit)


@move
async def has_a_timeout(play: Play, name: str) -> object:
    try:
        async with asyncio.timeout(play.rng.choice([1000, None, 0, -1])) as timeout:
            if play.rng.random() < 0.3:
                timeout.reschedule(play.rng.choice([None, 0]))
            return await play.move_alone(f"{name}_")
    except TimeoutError:
        return timeout.expired()


@move
async def iterates(play: Play, name: str) -> object:
    async def numbers():
        try:
            for number in range(3):
                await play.passing()
                yield number
        finally:
            play.tell(name, "generator closed")
            await play.passing()

    generator = numbers()
    async for number in generator:
        if play.rng.random() < 0.3:
            await generator.aclose()
            return number
    return None


@move
async def fails(play: Play, name: str) -> object:
    await play.passing()
    raise Fault(name)


@move
async def calls_soon(play: Play, name: str) -> object:
    handle = play.loop.call_soon(play.tell, name, "called")
    play.loop.call_soon(play.loop.call_soon, play.tell, name, "called later")
    if play.rng.random() < 0.3:
        handle.cancel()
    return handle.cancelled()


@move
async def raises_in_callback(play: Play, name: str) -> object:
    def broken():
        raise Fault(name)

    play.loop.call_soon(broken)
    return None
