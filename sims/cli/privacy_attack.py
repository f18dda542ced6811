"""The command ``gossipfl privacy attack``."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from sims.privacy.attacks.report import AttackReport

__all__ = ["attack"]

_SHOWN = 0.01
"""False positive rate of the table; JSON has others."""


def attack(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|SCENARIO",
            help="A scenario, the directory of a simulated run, or homes of peers that saved their models.",
            show_default=False,
        ),
    ],
    *,
    runs: Annotated[
        int, typer.Option(min=3, help="How often the scenario is run; each run is attacked with the others.")
    ] = 16,
    observer: Annotated[
        int | None,
        typer.Option(min=0, help="Number of a node, whose neighbours are attacked; all if left out."),
    ] = None,
    looks: Annotated[
        int, typer.Option(min=1, help="How many of the last rows that a node sends are seen, in rounds.")
    ] = 1,
    delta: Annotated[float, typer.Option(help="The δ of (ε, δ).")] = 1e-5,
    confidence: Annotated[float, typer.Option(help="Confidence level of all intervals and bounds.")] = 0.95,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a value of the scenario; may be repeated.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Attack the models that neighbours saw: membership, links to data, and batches from gradients."""
    from rich.console import Console

    from gossipfl.errors import SettingError
    from gossipfl.privacy.guarantees import require_accounting, require_delta
    from sims.privacy.attacks.report import attack_recorded, attack_report
    from sims.privacy.sources import homes_of, one_scenario

    require_accounting()
    require_delta(delta)
    if not 0 < confidence < 1:
        raise SettingError("a confidence level is a probability", expected="between 0 and 1", got=confidence)
    homes = homes_of(sources, overrides=overrides or ())
    with Console(stderr=True, quiet=json_output).status("") as status:
        if homes:
            report = attack_recorded(homes, observer=observer, delta=delta, confidence=confidence)
        else:
            report = attack_report(
                one_scenario(sources, overrides=overrides or ()),
                runs=runs,
                observer=observer,
                looks=looks,
                delta=delta,
                confidence=confidence,
                on_progress=status.update,
            )
    if json_output:
        typer.echo(json.dumps(report.to_dict()))
        return
    _say(report, Console())


def _say(report: AttackReport, console: Console) -> None:
    def say(text: str, style: str | None = None) -> None:
        console.print(text, highlight=False, soft_wrap=True, style=style)

    claimed = report.claim.epsilon
    if report.runs == 1:
        say(f"{report.nodes} recorded peers, by the models that they saved last.")
    else:
        seen = "one row" if report.looks == 1 else f"{report.looks} rows"
        say(
            f"{report.nodes} nodes, of which {len(report.senders)} are attacked; {report.runs} runs, each on a "
            f"random half of all samples; {seen} of each node seen."
        )
    console.print(_membership(report))
    for known, links in report.links.items():
        say(
            f"• Links: by samples of theirs that were {known}, {links.top1.value:.1%} of {links.models} models "
            f"are assigned to their senders ({links.top1.low:.1%} to {links.top1.high:.1%}); by chance "
            f"{links.chance:.1%}."
        )
    for when, found in report.inversion.items():
        say(
            f"• Gradients, {when}: of {found.samples} samples in {found.batches} batches {found.recognised:.1%} "
            f"are recognised from what was reconstructed (by chance {found.chance:.1%}); {found.psnr:.1f} dB, and "
            f"others' samples {found.psnr_of_others:.1f} dB."
        )
    space = report.row_space
    if space is not None:
        say(
            f"• Row space: node {space.observer} computes all gradients of {space.computed} of {space.others} "
            f"others from the rows it received, and has {space.share:.3f} of what they would tell."
        )
    for what, why in report.left_out.items():
        say(f"• Not tried: {what}: {why}")
    said = f"ε = {claimed:.4g}" if math.isfinite(claimed) else "nothing"
    proven = (
        f" Proven by one run, at a confidence of {report.confidence:.0%}: ε ≥ {report.proven:.3g}."
        if report.runs > 1
        else ""
    )
    say(f"• Claimed at δ = {report.claim.delta:g}: {said} ({report.claim.why}).{proven}")
    say(
        "ε, rates: proven as if samples were independent; ε, run: proven by one run, whatever they do to one "
        "another. A low figure says that these attacks found little, not that there is little to find.",
        style="dim",
    )


def _membership(report: AttackReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("membership by", no_wrap=True)
    columns = ["AUC", "advantage", f"TPR at {_SHOWN:.0%}", "ε, rates", "ε, run"]
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, each in report.membership.items():
        rate = each.true_rates[_SHOWN]
        table.add_row(
            name,
            f"{each.auc:.3f}",
            f"{each.advantage:.3f}",
            f"{rate.value:.1%} ({rate.low:.1%}–{rate.high:.1%})",
            f"{each.epsilon:.3g}",
            "–" if each.epsilon_of_one_run is None else f"{each.epsilon_of_one_run:.3g}",
        )
    return table
