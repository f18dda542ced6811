"""``gossipfl sim papers``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sims.papers import Claim, Finding

__all__ = ["papers"]


def papers(
    names: Annotated[
        list[str] | None, typer.Argument(help="Claims to reproduce; all unless given.", show_default=False)
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds instead of minutes: only what a few rounds can show.")
    ] = False,
    show: Annotated[bool, typer.Option("--list", help="List the claims.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory for the records, one sweep for each claim.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what finished in --out.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs side by side; one for each core.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the comparison to this Markdown file.")
    ] = None,
) -> None:
    """Reproduce published results, and show theirs next to ours. Exits with 1 if one is not reproduced."""
    from sims.papers import CLAIMS, reproduce
    from sims.papers.page import page

    chosen = _chosen(names, CLAIMS)
    if show:
        for claim in chosen:
            typer.echo(f"{claim.name:22s} {claim.title}")
        return
    findings = []
    for claim in chosen:
        typer.echo(f"{claim.title} …")
        directory = None if out is None else out / claim.name
        again = resume and directory is not None and directory.exists()
        finding = reproduce(claim, quick=quick, out=directory, jobs=jobs, resume=again)
        _say(finding)
        findings.append(finding)
        if report is not None:
            report.write_text(page(findings), encoding="utf-8")
    sys.exit(0 if all(finding.reproduced for finding in findings) else 1)


def _chosen(names: list[str] | None, claims: tuple[Claim, ...]) -> list[Claim]:
    from sims.errors import InvalidSweep

    known = {claim.name: claim for claim in claims}
    for name in names or ():
        if name not in known:
            raise InvalidSweep(f"there is no claim {name!r}", expected=f"one of {', '.join(known)}")
    return [known[name] for name in names] if names else list(claims)


def _say(finding: Finding) -> None:
    from rich.console import Console
    from rich.table import Table

    from sims.papers.page import number

    table = Table("variant", "figure", "theirs", "ours", "spread", "")
    for comparison in finding.comparisons:
        figure = comparison.figure
        met = {None: "", True: "✓", False: "✗"}[comparison.reproduced]
        theirs = "" if figure.published is None else number(figure.published)
        table.add_row(
            figure.variant, figure.what, theirs, number(comparison.measured), number(comparison.spread), met
        )
    console = Console()
    console.print(table)
    for statement, holds in finding.gates:
        console.print(f"{'✓' if holds else '✗'} {statement}")
    console.print(f"{finding.seconds:.0f} s")
