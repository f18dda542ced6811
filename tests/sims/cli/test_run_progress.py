"""The progress bar of ``gossipfl sim run``: what is shown in terminals of any width."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from sims.cli.run_progress import progress_bar
from sims.running import Progress
from sims.running.memory import MemoryEstimate

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MEMORY = MemoryEstimate(rows=1, slots=0, data=0, timeline=0, measuring=0, base=0)


def shown(width, *reports, terminal=True):
    """Lines of a terminal of so many columns."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=width)
    with progress_bar(quiet=False, console=console) as report:
        for each in reports:
            report(each)
    return written.getvalue()


def at(rounds, total=200.0, **measures):
    evaluation = {"accuracy_mean": 0.47981, "consensus_distance": 0.03049, **measures}
    return Progress(rounds=rounds, total=total, evaluation=evaluation, memory=MEMORY)


@pytest.mark.parametrize(
    ("width", "measures"),
    [(200, "accuracy 0.4798  consensus distance 0.0305"), (60, "accuracy 0.4798"), (40, "")],
)
def test_times_are_shown_whole_and_measures_as_far_as_there_is_room(width, measures):
    *_, last = ANSI.sub("", shown(width, at(41.3562), at(55.174))).split("round ")
    assert re.fullmatch(r"55/200 [━╸╺ ]+ \d:\d\d:\d\d (-:--:--|\d:\d\d:\d\d) ?" + measures, last.strip())
    assert len(f"round {last.rstrip()}") <= width


def test_after_ctrl_c_it_says_that_it_stops_in_any_terminal():
    stopping = replace(at(41.3562), stopping=True)
    assert "stopping 41/200" in ANSI.sub("", shown(40, at(41), stopping))
    assert re.search(r"stopping 41/200 .*Ctrl-C again: at once", ANSI.sub("", shown(100, at(41), stopping)))


def test_few_rounds_are_shown_in_tenths_and_no_room_is_no_error():
    assert "round 1.3/2.5" in ANSI.sub("", shown(100, at(1.29, total=2.5)))
    assert "ro…" in ANSI.sub("", shown(8, at(3)))


def test_a_pipe_gets_no_control_characters():
    written = shown(80, at(10), at(20), terminal=False)
    assert not set(written) & {"\x1b", "\r"}
