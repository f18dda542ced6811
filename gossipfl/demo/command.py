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
from gossipfl.peer.page.token import load_or_create_token

__all__ = ["show_demo"]

_LINE_SECONDS = 2.0


def show_demo(plan: DemoPlan, *, began: float, json_output: bool, live: bool) -> Summary:
    """Carry out a demo: a live table if ``live``, else a line now and then, silence for ``--json``.

    If the plan has a page, the peers are also shown over HTTP, and the address of the page is printed to standard
    error; so is that of the page to type on, once its peer is up.
    """
    if not plan.page:
        return _show(plan, None, began=began, json_output=json_output, live=live)
    with DemoPage(plan) as served:
        print(f"The page: {served.url}", file=sys.stderr, flush=True)
        return _show(plan, served, began=began, json_output=json_output, live=live)


def _show(plan: DemoPlan, page: DemoPage | None, *, began: float, json_output: bool, live: bool) -> Summary:
    tell = _KeyboardTeller(plan)
    if json_output:
        return run_demo(plan, began=began, show=tell, page=page)
    console = Console()
    if live:
        with Live(console=console, auto_refresh=False) as display:

            def draw(progress: Progress) -> None:
                tell(progress)
                display.update(live_view(plan, progress), refresh=True)

            summary = run_demo(plan, began=began, show=draw, page=page)
    else:
        line = _LinePrinter()

        def write(progress: Progress) -> None:
            tell(progress)
            line(progress)

        summary = run_demo(plan, began=began, show=write, page=page)
    console.print(summary_table(summary))
    if summary.picture:
        print(f"The curves: {summary.picture}")
    print(f"The peers' homes, with records and checkpoints: {summary.directory}")
    return summary


class _KeyboardTeller:
    """Prints once where one can type, to standard error."""

    def __init__(self, plan: DemoPlan) -> None:
        self._waits = plan.has_keyboard
        self._token = plan.home(0).page_token

    def __call__(self, progress: Progress) -> None:
        status = progress.history[-1].statuses[0] if self._waits and progress.history else None
        if status is not None and status["page"]:
            self._waits = False
            token = load_or_create_token(self._token)
            print(
                f"The keyboard of peer 0: {status['page']}keyboard#token={token}", file=sys.stderr, flush=True
            )


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
