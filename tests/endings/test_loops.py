"""Loops beside one another, and one after another."""

import asyncio
import gc
import sys
import threading
import warnings

import pytest


@pytest.fixture(autouse=True)
def _threads_take_turns_often():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def test_threads_lose_nothing_and_keep_their_order(new_loop):
    threads, calls = 8, 2000
    loop = new_loop()
    came = [[] for _ in range(threads)]
    left = threading.Semaphore(0)

    def call(mine):
        for number in range(calls):
            loop.call_soon_threadsafe(mine.append, number)
        loop.call_soon_threadsafe(done)

    def done():
        left.release()
        if left._value == threads:
            loop.stop()

    started = [threading.Thread(target=call, args=[mine]) for mine in came]
    for thread in started:
        thread.start()
    loop.run_forever()
    for thread in started:
        thread.join()
    loop.close()
    assert came == [list(range(calls))] * threads


def test_two_loops_call_each_other(new_loop):
    rounds = 1000
    loops = [new_loop(), new_loop()]
    threads = [threading.Thread(target=loop.run_forever) for loop in loops]
    seen = [[], []]

    def bounce(to, number):
        assert asyncio.get_running_loop() is loops[to]
        seen[to].append(number)
        other = 1 - to
        if number < rounds:
            loops[other].call_soon_threadsafe(bounce, other, number + 1)
        else:
            for loop in loops:
                loop.call_soon_threadsafe(loop.stop)

    for thread in threads:
        thread.start()
    loops[0].call_soon_threadsafe(bounce, 0, 0)
    for thread, loop in zip(threads, loops, strict=True):
        thread.join()
        loop.close()
    assert seen == [list(range(0, rounds + 1, 2)), list(range(1, rounds + 1, 2))]


def test_a_loop_awaits_what_another_runs(new_loop):
    """Coroutines, exceptions and cancellation go across, both ways at once."""
    loops = [new_loop(), new_loop()]

    async def answer(number):
        await asyncio.sleep(0)
        if number % 3 == 0:
            raise LookupError(number)
        if number % 3 == 1:
            raise asyncio.CancelledError
        return number

    async def ask(other):
        found = []
        for number in range(100):
            future = asyncio.run_coroutine_threadsafe(answer(number), other)
            try:
                found.append(await asyncio.wrap_future(future))
            except LookupError as error:
                found.append(str(error))
            except asyncio.CancelledError:
                found.append(None)
        return found

    answers = []
    all_asked = threading.Barrier(2)

    async def main(other):
        answers.append(await ask(other))
        await asyncio.to_thread(all_asked.wait, 30)

    def run(loop, other):
        loop.run_until_complete(main(other))
        loop.run_until_complete(loop.shutdown_default_executor())

    threads = [threading.Thread(target=run, args=pair) for pair in (loops, loops[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for loop in loops:
        loop.close()
    one = [(str(n), None, n)[n % 3] for n in range(100)]
    assert answers == [one, one]


@pytest.mark.memory
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "dropped"])
def test_hundreds_of_loops_need_the_room_of_one(start, is_closed):
    """Each is used, then closed, or only dropped, which closes it; a kilobyte a loop would show."""
    source = f"""
        import resource

        async def main():
            loop = asyncio.get_running_loop()
            transport, far = await connection()
            transport.close()
            far.close()
            loop.call_soon_threadsafe(int)
            loop.call_later(60, int)
            task = loop.create_task(asyncio.sleep(0))
            await asyncio.wait_for(task, 1)
            await loop.getaddrinfo("127.0.0.1", 80)

        def use(count):
            for _ in range(count):
                loop = new_loop()
                loop.run_until_complete(main())
                if {is_closed}:
                    loop.close()
                del loop
                gc.collect(1)
            gc.collect()
            fds = len(os.listdir("/proc/self/fd"))
            with open("/proc/self/statm") as memory:
                return fds, int(memory.read().split()[1]) * resource.getpagesize()

        fds, memory = use(200)
        later_fds, later_memory = use(500)
        print(later_fds - fds, later_memory - memory < 500 << 10 or later_memory - memory)
    """
    process = start("penstock", source, "-W", "ignore")
    assert process.communicate(timeout=120) == ("0 True\n", "")


@pytest.mark.penstock_only("in some versions asyncio's sockets and epoll stay open")
def test_a_dropped_loop_closes_what_it_has(new_loop, fds):
    """The look at descriptors that every test ends with, with all kinds of them open."""

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        await asyncio.open_connection(*server.sockets[0].getsockname())
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        await loop.getaddrinfo("127.0.0.1", 80)

    before = fds()
    loop = new_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a record of it would keep what it is of
        loop.run_until_complete(main())
        del loop
        gc.collect()
        gc.collect()  # asyncio's streams close what they hold in the first
    assert fds() == before
