"""The line on the terminal while the event loop is compiled."""

import io

import pytest
from numba.core import event

from sims.compiler import slots
from sims.compiler.timeline import events


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("kernel", "stderr", "lines"),
    [(events.advance, Terminal(), 1), (events.advance, io.StringIO(), 0), (slots.slots_of, Terminal(), 0)],
    ids=["event loop", "no terminal", "another kernel"],
)
def test_compiling_the_event_loop_is_announced_on_a_terminal(monkeypatch, kernel, stderr, lines):
    monkeypatch.setattr("sys.stderr", stderr)
    with event.trigger_event("numba:compile", data={"dispatcher": kernel}):
        assert stderr.getvalue().count("compiling the event loop") == lines
