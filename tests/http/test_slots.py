"""When a worker has served for long enough."""

import pytest
from penstock._serve import slots
from penstock._serve.config import Config
from penstock._serve.slots import Process, Slot


def process(**options):
    """One that is ready from second 1000 on."""
    made = Process(Slot(0), None, None, (), Config(**options))
    made.ready_at = 1000.0
    return made


@pytest.fixture(params=["least", "most"])
def jitter(request, monkeypatch):
    """Random numbers are the least or the most that they can be: its name."""
    choose = min if request.param == "least" else max
    monkeypatch.setattr(slots.random, "uniform", choose)
    monkeypatch.setattr(slots.random, "randint", choose)
    return request.param


def test_without_limits():
    made = process()
    made.counts, made.resident = {"requests": 10**9}, 1 << 50
    assert made.limit_reached(1e12) is None


def test_the_lifetime_is_a_tenth_less_at_the_most(jitter):
    made = process(limit_worker_lifetime=100)
    seconds = {"least": 90, "most": 100}[jitter]
    assert made.limit_reached(1000 + seconds - 0.001) is None
    assert made.limit_reached(1000 + seconds) == "lifetime"


def test_so_is_the_memory(jitter):
    made = process(limit_worker_rss=1000)
    size = {"least": 900, "most": 1000}[jitter]
    assert made.limit_reached(2000) is None  # nothing has been told yet
    made.resident = size - 1
    assert made.limit_reached(2000) is None
    made.resident = size
    assert made.limit_reached(2000) == "rss"


def test_requests_are_as_many_as_are_asked_for_at_the_least(jitter):
    made = process(limit_max_requests=10, limit_max_requests_jitter=5)
    count = {"least": 10, "most": 15}[jitter]
    assert made.limit_reached(2000) is None
    made.counts = {"requests": count - 1}
    assert made.limit_reached(2000) is None
    made.counts = {"requests": count}
    assert made.limit_reached(2000) == "requests"


def test_workers_differ():
    made = [
        process(limit_worker_lifetime=1e6, limit_worker_rss="1g", limit_max_requests=1)
        for _ in range(20)
    ]
    assert len({each.most_seconds for each in made}) > 1
    assert len({each.most_resident for each in made}) > 1
    assert {each.most_requests for each in made} == {1}
    assert all(0.9e6 <= each.most_seconds <= 1e6 for each in made)
    assert all(0.9 * (1 << 30) <= each.most_resident <= 1 << 30 for each in made)
