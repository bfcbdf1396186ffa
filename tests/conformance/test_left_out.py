"""How many of CPython's tests are left out, and how many are not: by the ids that unittest finds.

A glob of left_out.txt may name hundreds of tests, so that its lines tell nothing.
"""

import sys
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from . import left_out, suite

MISSING = suite.why_unavailable()

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)

# On 3.13.0 the standard library's own loop passes 1,749 after 471 that repeat a class for another
# selector or look behind the public interface. 3.11 and 3.12 have fewer tests, later versions more.
MOST_LEFT_OUT = 471
FEWEST_THAT_RUN = 1_749

# Without those that repeat a class for another selector, which CPython may add more of. These only
# shrink; versions that CPython still adds tests to, which a glob may cover, have room for a few.
MOST_OF_THEIR_OWN = {(3, 11): 61, (3, 12): 61, (3, 13): 62, (3, 14): 93, (3, 15): 96}
OTHER_SELECTORS = ("PollEventLoopTests", "SelectEventLoopTests")


@pytest.fixture(scope="module")
def found() -> frozenset[str]:
    """All ids of all modules, without running any."""
    with ThreadPoolExecutor(suite.AT_A_TIME) as pool:
        modules = list(pool.map(suite.collect, suite.modules()))
    return frozenset(test for tests in modules for test in tests)


@pytest.fixture(scope="module")
def omitted(found: frozenset[str]) -> frozenset[str]:
    entries = left_out.read(suite.LEFT_OUT)
    return frozenset(test for test in found if any(entry.covers(test) for entry in entries))


def test_no_more_are_left_out_than_asyncio_itself_needs(omitted: frozenset[str]) -> None:
    assert 0 < len(omitted) <= MOST_LEFT_OUT


def test_no_fewer_run_than_asyncio_itself_passes(
    found: frozenset[str], omitted: frozenset[str]
) -> None:
    assert len(found - omitted) >= FEWEST_THAT_RUN


def test_the_list_has_not_grown(omitted: frozenset[str]) -> None:
    own = [test for test in omitted if test.split(".")[-2] not in OTHER_SELECTORS]
    assert len(own) <= MOST_OF_THEIR_OWN[sys.version_info[:2]], sorted(own)


def test_no_fewer_pass_than_on_asyncio_itself(reports: dict[str, Future[suite.Report]]) -> None:
    if reports.keys() != set(suite.modules()):
        pytest.skip("only some of the modules are run")
    outcomes = Counter[str]()
    for report in reports.values():
        outcomes.update(report.result().outcomes.values())
    assert outcomes["ok"] >= FEWEST_THAT_RUN, outcomes
