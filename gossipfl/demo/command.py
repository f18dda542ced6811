"""A demo in the terminal."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.live import Live

from gossipfl.demo.display import live_view, progress_line
from gossipfl.demo.page import DemoPage
from gossipfl.demo.plan import DemoPlan
from gossipfl.demo.running import Progress, run_demo
from gossipfl.demo.summary import Summary, summary_table

__all__ = ["show_demo"]

_LINE_SECONDS = 2.0


def show_demo(plan: DemoPlan, *, began: float, json_output: bool, live: bool, page: bool = False) -> Summary:
    """Carry out a demo: a live table if ``live``, else a line now and then, silence for ``--json``.

    With ``page``, the peers are also shown over HTTP, and the address of the page is printed to standard error.
    """
    if not page:
        return _show(plan, None, began=began, json_output=json_output, live=live)
    with DemoPage(plan) as served:
        print(f"The page: {served.url}", file=sys.stderr, flush=True)
        return _show(plan, served, began=began, json_output=json_output, live=live)


def _show(plan: DemoPlan, page: DemoPage | None, *, began: float, json_output: bool, live: bool) -> Summary:
    if json_output:
        return run_demo(plan, began=began, show=lambda _: None, page=page)
    console = Console()
    if live:
        with Live(console=console, auto_refresh=False) as display:
            summary = run_demo(
                plan,
                began=began,
                show=lambda progress: display.update(live_view(plan, progress), refresh=True),
                page=page,
            )
    else:
        summary = run_demo(plan, began=began, show=_LinePrinter(), page=page)
    console.print(summary_table(summary))
    if summary.picture:
        print(f"The curves: {summary.picture}")
    print(f"The peers' homes, with records and checkpoints: {summary.directory}")
    return summary


class _LinePrinter:
    """Prints a line when the phase changes, and else every two seconds."""

    def __init__(self) -> None:
        self._last = 0.0
        self._phase = ""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_SECONDS or progress.phase != self._phase:
            self._last, self._phase = now, progress.phase
            print(progress_line(progress), file=sys.stdout, flush=True)
