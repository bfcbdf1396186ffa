"""CPython's own tests of this interpreter, module by module, on penstock and on asyncio."""

from concurrent.futures import Future

import pytest

from . import left_out, suite

MISSING = suite.why_unavailable()

if MISSING:
    pytest.skip(MISSING, allow_module_level=True)


@pytest.mark.parametrize("module", suite.modules())
def test_on_penstock(module: str, reports: dict[str, Future[suite.Report]]) -> None:
    report = reports[module].result()
    assert not report.problems, "\n\n".join(report.problems)
    if not report.outcomes:
        pytest.skip("nothing in it is for this platform")


@pytest.mark.parametrize("area", suite.QUICK)
def test_out_of_debug_mode(area: str) -> None:
    report = suite.run(f"{suite.PACKAGE}.{area}", "quick")
    assert not report.problems, "\n\n".join(report.problems)
    assert report.count("ok") > 10


def test_the_harness_itself_on_asyncio() -> None:
    report = suite.run("test.test_asyncio.test_futures", "asyncio")
    assert not report.problems, "\n\n".join(report.problems)
    assert report.count("ok") > 100


def test_entries_name_modules_that_are_run() -> None:
    areas = {module.removeprefix("test.") for module in suite.modules()}
    for entry in left_out.read(suite.LEFT_OUT):
        assert any(entry.pattern.startswith(f"{area}.") for area in areas), entry
