import penstock


def pytest_asyncio_loop_factories(config, item):
    return {"penstock": penstock.new_event_loop}
