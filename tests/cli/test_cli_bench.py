"""`penstock bench` with small numbers: it measures, and says what it can't."""

import json
import shutil
import subprocess
import sys

import pytest
from penstock.bench import areas, peers


def bench(*words: str, **options) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "penstock", "bench", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.mark.parametrize("area", areas.NAMES)
def test_each_area_measures_every_loop(area: str) -> None:
    if area == "tls" and not shutil.which("openssl"):
        pytest.skip("no certificate without the command openssl")
    found = bench(area, "--quick", "--json", "--loops", "penstock,asyncio")
    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert report["loops"] == ["asyncio", "penstock"]
    assert report["tables"]
    for table in report["tables"]:
        assert table["rows"], table["title"]
        for row in table["rows"]:
            assert set(row["rounds"]) == {"asyncio", "penstock"}, row
            assert all(value > 0 for values in row["rounds"].values() for value in values), row
            [ours], [theirs] = row["rounds"]["penstock"], row["rounds"]["asyncio"]
            ratio = theirs / ours if row["more is better"] else ours / theirs
            assert row["penstock to"]["asyncio"]["median"] == ratio


def test_prints_the_machine_and_tables() -> None:
    found = bench("dns", "--quick", "--rounds", "2", "--loops", "asyncio,penstock")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert any(line.startswith("Python ") for line in lines)
    assert "Names" in lines
    [row] = [line for line in lines if line.startswith("127.0.0.1: p50, µs")]
    asyncio, ours, *ratio = row.removeprefix("127.0.0.1: p50, µs").split()
    assert float(asyncio.replace(",", "")) > 0 and float(ours.replace(",", "")) > 0
    assert len(ratio) == 2
    assert "round 2 of 2" in found.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["everything"], "'everything' is none of scheduling, echo"),
        (["--loops", "trio"], "'trio' is none of asyncio"),
        (["--rounds", "0"], "'0' is no number of rounds"),
        (["--rounds", "many"], "'many' is no number of rounds"),
        (["--fast"], "--fast"),
    ],
)
def test_wrong_arguments_are_named(words: list[str], complaint: str) -> None:
    found = bench(*words)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("usage: penstock bench ")
    assert complaint in found.stderr.splitlines()[-1]


def test_a_loop_that_is_not_installed_is_named() -> None:
    missing = set(peers.NAMES) - {*peers.installed(), peers.BY_NAME}
    if not missing:
        pytest.skip("all are installed")
    name = missing.pop()
    found = bench("--loops", name)
    assert found.returncode == 2
    assert f"{name} is not installed" in found.stderr


def test_without_openssl_tls_says_what_it_needs(tmp_path) -> None:
    found = bench("tls", "--quick", env={"PATH": str(tmp_path)})
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == (
        "penstock bench: area tls needs the command openssl, for a certificate"
    )
