"""Tables of figures that are made up, and what is written of them."""

import xml.etree.ElementTree as xml

import picture
import pytest
import report
from penstock.bench import output, peers
from penstock.bench.rounds import Figure, Row, Table, percentiles

LESS = Figure("CPU", "µs")
MORE = Figure("throughput", "messages/s", more_is_better=True)
LOOPS = ["asyncio", "rloop", "penstock"]


@pytest.fixture
def table() -> Table:
    made = Table("Echo", {"cpu": LESS, "rate": MORE})
    for cpu in (10, 20, 40):
        made.add("1 KiB", "asyncio", {"cpu": cpu, "rate": 1000})
        made.add("1 KiB", "penstock", {"cpu": 5, "rate": 4000})
    made.add("1 KiB", "rloop", {"cpu": 1})
    made.settle(3)
    return made


def test_ratios_are_those_of_each_round_and_below_one_where_penstock_does_better(table) -> None:
    cpu, rate = table.rows.values()
    assert cpu.value("asyncio") == 20
    assert cpu.ratio("asyncio") == (0.25, 0.125, 0.5)
    assert rate.ratio("asyncio") == (0.25, 0.25, 0.25)


def test_a_loop_that_has_not_come_to_the_end_has_no_figure(table) -> None:
    row = table.rows["1 KiB: CPU"]
    assert row.value("rloop") is None and row.ratio("rloop") is None
    assert "| 1 KiB: CPU, µs | 20.0 | - | 5.0 |" in "\n".join(report.full(table, LOOPS))
    assert report.ranked([table], "rloop") == []
    assert report.balance([table], "rloop") == "rloop has no row of these."


def test_percentiles_are_only_those_that_there_are_waits_for() -> None:
    waits = [number / 1e6 for number in range(1000, 0, -1)]
    assert percentiles(waits) == pytest.approx({"p50": 501, "p99": 991, "p99.9": 1000})
    assert list(percentiles(waits[:999])) == ["p50", "p99"]
    assert list(percentiles(waits[:99])) == ["p50"]


def test_printed_columns_stand_below_each_other(table) -> None:
    title, _, header, *rows = output.text(table, LOOPS).splitlines()
    assert title == "Echo"
    ends = [header.index(loop) + len(loop) for loop in LOOPS]
    assert {row[end - 1] for row in rows for end in ends} <= set("0123456789-")


def test_the_worst_row_is_told(table) -> None:
    table.rows["bad"] = Row("bad", LESS, {"asyncio": [1] * 3, "penstock": [2] * 3})
    assert report.balance([table], "asyncio") == (
        "penstock does better than asyncio in 2 of 3 rows. The worst: bad (echo), 2.00."
    )


def test_the_picture_has_a_dot_a_ratio(table) -> None:
    drawn = xml.fromstring(picture.drawn([table], LOOPS))
    dots = list(drawn.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(dots) == 2
    width = float(drawn.get("width") or 0)
    assert all(picture.LEFT <= float(dot.get("cx") or 0) <= width for dot in dots)


def test_every_loop_has_a_colour_of_its_own(table) -> None:
    for peer in output.others(list(peers.NAMES)):
        assert picture.COLOURS[peer] in picture.drawn([table], ["asyncio", peer, "penstock"])
    assert len(set(picture.COLOURS.values())) == len(picture.COLOURS)
