"""Programs that run to their end: what they print, in which order, and how long they take."""

import sys
import time

from .local import EXAMPLES, Run, examples


class TestTwoSleeps:
    def test_sleeps_pass_together(self, run: Run) -> None:
        started = time.monotonic()
        output = run("two_sleeps.py").stdout
        assert 2.0 <= time.monotonic() - started < 3.5
        assert output.splitlines() == [
            "Ada falls asleep",
            "Grace falls asleep",
            "Ada wakes up",
            "Grace wakes up",
        ]


class TestGatherError:
    def test_error_is_caught_and_siblings_go_on(self, run: Run) -> None:
        process = run("gather_error.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "quick is done",
            "caught: ValueError('bad went wrong')",
            "slow is done: False, cancelled: False",
            "slow is done",
            "slow returned 'slow'",
            "late is done",
            "[ValueError('bad went wrong'), 'late']",
        ]


class TestTaskNamesInLogs:
    def test_each_line_names_its_task(self, run: Run) -> None:
        lines = run("task_names_in_logs.py").stderr.splitlines()
        main = lines[1].split()[1].rstrip(":")
        third = lines[4].split()[1].rstrip(":")
        assert main.startswith("Task-") and third.startswith("Task-") and main != third
        assert lines == [
            "INFO None: before the loop runs",
            f"INFO {main}: open",
            "INFO till 1: serving Ada",
            "INFO till 2: serving Grace",
            f"INFO {third}: serving Hedy",
            "INFO till 2: Grace has paid",
            "INFO till 1: Ada has paid",
            f"INFO {third}: Hedy has paid",
            f"INFO {main}: closed",
        ]


class TestBreakpoint:
    def debug(self, runtime: list[str], *answers: str) -> tuple[str, int]:
        program = str(EXAMPLES / "breakpoint_in_coroutine.py")
        shown, status = examples.debug([*runtime, program], list(answers))
        return shown, status

    def test_stops_and_goes_on(self, runtime: list[str]) -> None:
        shown, status = self.debug(runtime, "p total", "p a, b", "up", "p ticks", "continue")
        assert "(Pdb) p total\n42\n" in shown
        assert "(Pdb) p a, b\n(20, 22)\n" in shown
        assert "(Pdb) p ticks\n[]\n" in shown
        assert shown.endswith("total 42, ticking: True\n")
        assert status == 0

    def test_steps_over_an_await(self, runtime: list[str]) -> None:
        # breakpoint() stops after itself, from 3.13 on at itself.
        steps = ["next"] * (2 if sys.version_info >= (3, 13) else 1)
        shown, status = self.debug(runtime, *steps, "p total + 1", "continue")
        assert "-> return total" in shown
        assert "(Pdb) p total + 1\n43\n" in shown
        assert status == 0

    def test_sees_the_tasks(self, runtime: list[str]) -> None:
        names = "p sorted(t.get_name() == 'ticker' for t in asyncio.all_tasks())"
        shown, status = self.debug(runtime, "import asyncio", names, "continue")
        assert f"(Pdb) {names}\n[False, True]\n" in shown
        assert status == 0

    def test_quits(self, runtime: list[str]) -> None:
        # From 3.14 on it asks back first, and exits instead of raising.
        asks = sys.version_info >= (3, 14)
        shown, status = self.debug(runtime, "quit\ny" if asks else "quit")
        assert ("Quit anyway?" if asks else "bdb.BdbQuit") in shown
        assert status == 1


class TestPipeline:
    def test_all_ways_count_the_same(self, run: Run) -> None:
        process = run("pipeline.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "exit codes: 0 0 0",
            "by the kernel: 40951",
            "exit codes: 0 0",
            "by hand: 40951",
            "by the shell: 40951",
        ]


class TestEchoUdp:
    def test_all_are_answered_though_datagrams_are_lost(self, run: Run) -> None:
        process = run("echo_udp.py")
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "100 answers: True",
            "each asked for twice: True",
            "a large one: 60000 bytes",
            "nobody is there",
        ]
