"""What is made of callgrind's profiles, and of counts that have changed."""

import pytest
from instructions import TOLERANCE, compared, summary

PROFILE = """\
# callgrind format
version: 1
desc: Trigger: Client Request: ready queue: push

summary: 5000
fn=(1) something
12 5000
totals: 6000
"""


def test_a_profile_tells_its_case_and_its_count() -> None:
    assert summary(PROFILE, 1000) == ("ready queue: push", 5.0)


@pytest.mark.parametrize(
    ("now", "line", "well"),
    [
        (100, "ok a: 100.0, recorded 100.0", True),
        (100 * (1 + TOLERANCE), "ok a: 102.0, recorded 100.0", True),
        (103, "FAILED count; a: 103.0, recorded 100.0", False),
        (90, "ok a: 90.0, recorded 100.0 (fewer: --record it)", True),
    ],
)
def test_only_more_is_a_failure(now: float, line: str, well: bool) -> None:
    assert compared({"a": now}, {"a": 100}) == ([line], well)


def test_what_is_counted_is_what_is_recorded() -> None:
    lines, well = compared({"new": 1}, {"old": 1})
    assert lines == [
        "FAILED count; new: 1.0 is not recorded",
        "FAILED count; old is recorded, but there is no such case",
    ]
    assert not well
