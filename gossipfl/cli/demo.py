"""``gossipfl demo``: the main job, watched."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from gossipfl.cli.flags import Overrides, WithParameterFlags, with_setting_flags
from gossipfl.cli.signals import on_signals
from gossipfl.cli.terminal import may_draw
from gossipfl.demo.plan import KEYBOARD, RECIPE, DemoPlan
from gossipfl.extras import require_extra

__all__ = ["app"]

# Whose values differ from peer to peer, or follow from the demo's own options.
_SET_BY_THE_DEMO = (
    *("task", "runtime", "rounds", "training.seed"),
    *("network.listen", "network.announce", "network.bootstrap", "network.allow"),
)

_SECONDS, _KEYBOARD_SECONDS = 40.0, 80.0
_PAGE_SECONDS = 600.0

app = typer.Typer(
    help="Watch eight peers learn handwritten digits together, with no server.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(cls=WithParameterFlags)
@partial(with_setting_flags, without=_SET_BY_THE_DEMO, defaults=RECIPE)
def demo(
    subject: Annotated[
        Literal["digits", "keyboard"],
        typer.Argument(help="What peers learn: handwritten digits, or the words of ten authors."),
    ] = "digits",
    *,
    peers: Annotated[
        int | None, typer.Option(help="How many peers: 8, of a keyboard 10.", show_default=False)
    ] = None,
    task: Annotated[str, typer.Option(help="A bundled task, or package.module:factory.")] = "digits",
    partition: Annotated[
        str, typer.Option(help="iid, shards:K, dirichlet:ALPHA or quantity:SIGMA.")
    ] = "shards:2",
    text: Annotated[
        str, typer.Option(help="Of a keyboard: sotu, shakespeare, bible, or a folder of texts.")
    ] = "sotu",
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    duration: Annotated[
        float | None,
        typer.Option(
            help="Most seconds of gossip: 40, of a keyboard 80, and it ends earlier when done; 600 with --page.",
            show_default=False,
        ),
    ] = None,
    kill: Annotated[int, typer.Option(help="Kill this many peers half-way through, and restart one.")] = 0,
    page: Annotated[
        bool,
        typer.Option(
            "--page",
            help="Show all peers on a page of this machine, where they can be killed and revived, until its "
            "button Finish or --duration ends the demo, and a keyboard to type on (needs gossipfl[page]).",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Directory for homes and picture; a new one by default."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object.")
    ] = False,
    overrides: Overrides,
) -> None:
    """Start peers as processes of their own, watch them learn from each other, and compare.

    Each peer holds a private, badly skewed part of the data; a keyboard the text of one author. Nobody leads:
    this command only starts the processes and looks at what they write. At the end it trains each peer's data
    alone and all data pooled, to compare. Exit code 1 if a surviving peer is more than 2 points below pooled
    training; of keyboards, if the mean over authors may be (95 % interval), or is not above lone training.
    """
    began = time.monotonic()
    from gossipfl.demo.warm import warm_up

    warm_up()  # it imports what peers need while this process imports what it needs itself
    from gossipfl.demo.command import show_demo

    if subject == "keyboard":
        require_extra("words", ["wordfreq"], what="the demo of keyboards")
        require_extra("demo", ["scipy"], what="the demo of keyboards")
        task, partition = KEYBOARD, "natural"
    longest = _PAGE_SECONDS if page else _KEYBOARD_SECONDS if subject == "keyboard" else _SECONDS
    plan = DemoPlan(
        directory=out or _new_directory(),
        peers=peers or (10 if subject == "keyboard" else 8),
        task=task,
        partition=partition,
        text=text,
        seed=seed,
        duration=longest if duration is None else duration,
        kill=kill,
        page=page,
        overrides=overrides,
    )
    # By an exception, so that the peers are ended too.
    with on_signals(signal.SIGTERM, signal.SIGHUP, do=lambda number: sys.exit(128 + number)):
        summary = show_demo(plan, began=began, json_output=json_output, live=may_draw())
    if json_output:
        typer.echo(json.dumps(asdict(summary)))
    sys.exit(0 if summary.converged else 1)


def _new_directory() -> Path:
    for number in range(1, 10_000):
        path = Path(f"demo-run-{number}")
        if not path.exists():
            return path
    raise typer.BadParameter("Too many demo-run-N directories here: delete some, or use --out.")
