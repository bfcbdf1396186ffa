"""Log lines that say which task wrote them."""

import asyncio
import logging
import sys

log = logging.getLogger("shop")


class TaskName(logging.Filter):
    """What logging does by itself from Python 3.12 on."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        record.taskName = task.get_name() if task else None
        return True


async def serve(customer: str, seconds: float) -> None:
    log.info("serving %s", customer)
    await asyncio.sleep(seconds)
    log.info("%s has paid", customer)


async def main() -> None:
    log.info("open")
    async with asyncio.TaskGroup() as group:
        group.create_task(serve("Ada", 0.2), name="till 1")
        group.create_task(serve("Grace", 0.1), name="till 2")
        group.create_task(serve("Hedy", 0.3))
    log.info("closed")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(taskName)s: %(message)s")
    if sys.version_info < (3, 12):
        for handler in logging.getLogger().handlers:
            handler.addFilter(TaskName())
    log.info("before the loop runs")
    asyncio.run(main())
