"""The command ``gossipfl privacy``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from sims.cli.privacy_attack import attack

if TYPE_CHECKING:
    from rich.table import Table

    from sims.privacy.report import PrivacyReport

__all__ = ["app", "privacy"]

_DEFAULT = "account"


def privacy(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|SCENARIO",
            help="A scenario, the directory of a simulated run, or the homes of all peers of a network.",
            show_default=False,
        ),
    ],
    *,
    noise: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Noise on each private value, in units of its sensitivity (σ/Δ): as settings declare it, else 1, "
            "or 0 where there is other noise.",
        ),
    ] = None,
    sensitivity: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="The most by which a node's data move a value (Δ), in the unit of rows, where there is noise in "
            "that unit and no clip says so.",
        ),
    ] = None,
    delta: Annotated[float, typer.Option(help="The δ of (ε, δ).")] = 1e-5,
    observer: Annotated[
        list[int] | None,
        typer.Option(help="Number of an observer; may be repeated. All nodes unless given, at most 200."),
    ] = None,
    coalition: Annotated[
        list[int] | None,
        typer.Option(help="Look for the worst coalition of this many nodes; may be repeated."),
    ] = None,
    sees_all: Annotated[
        bool,
        typer.Option("--sees-all", help="Observers see all rows that are sent, whoever receives them."),
    ] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Replace a value of the scenario; may be repeated.")
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Print ε of each pair too.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with all pairs.")
    ] = False,
) -> None:
    """Say exactly how much each node could have learned of each other one's values."""
    from rich.console import Console

    from gossipfl.privacy.guarantees import require_accounting, require_delta
    from sims.privacy.account import account_of
    from sims.privacy.report import report_of

    require_accounting()
    require_delta(delta)
    errors = Console(stderr=True, quiet=json_output)
    with errors.status("") as status:
        account = account_of(
            sources,
            overrides=overrides or (),
            noise=noise,
            sensitivity=sensitivity,
            delta=delta,
            on_progress=lambda rounds: status.update(f"round {rounds:.0f}"),
        )
        report = report_of(
            account.run,
            noise=None
            if account.values is None or account.run.noise is not None
            else account.values.multiplier,
            bound=account.bound,
            rounds=account.rounds,
            training=account.training,
            delta=delta,
            observers=observer,
            coalitions=coalition or (),
            sees_all=sees_all,
            on_observer=lambda done: status.update(f"{done} observers accounted for"),
        )
    if json_output:
        typer.echo(json.dumps(report.to_dict()))
        return
    _say(report, pairs=pairs)


def _say(report: PrivacyReport, *, pairs: bool) -> None:
    from rich.console import Console

    console = Console()
    values = report.values
    noise = (
        f"noise of {report.noise:g} times their sensitivity"
        if report.noise is not None
        else "all noise that is declared"
    )
    console.print(
        f"{report.run.nodes} nodes, {values.sum()} private values with {noise}; δ = {report.delta:g}; "
        f"{len(report.observers)} observers.",
        highlight=False,
        soft_wrap=True,
    )
    console.print(_table(report))
    if pairs:
        for watching, row in zip(report.observers, report.epsilons(), strict=True):
            said = (f"{node}: {epsilon:.4g}" for node, epsilon in enumerate(row) if node != watching)
            console.print(f"node {watching} learns of {', '.join(said)}", highlight=False, soft_wrap=True)
    observer, node = report.worst_pair
    what = "the noisy value" if values.max() == 1 else f"all {values.max()} noisy values"
    console.print(
        f"• Worst pair: node {observer} learns of node {node} with ε = {report.worst.epsilon:.4g} "
        f"({report.worst.epsilon_by_rdp:.4g} by RDP). Whoever sees "
        f"{f'{what} of a node' if report.overheard is None else 'all rows that are sent'}: "
        f"ε = {report.local.epsilon:.6g} ({report.local.epsilon_by_rdp:.6g} by RDP).",
        highlight=False,
        soft_wrap=True,
    )
    if report.sampled is not None:
        sampled = report.sampled
        console.print(
            f"• Batches: whoever sees all that {sampled.steps} training steps of node {sampled.node} "
            f"led to, and not which samples were in them ({sampled.rate:.4g} of all), learns of one sample with "
            f"ε = {sampled.epsilon:.4g} by RDP.",
            highlight=False,
            soft_wrap=True,
        )
    if report.rounds is not None:
        rounds = report.rounds
        console.print(
            f"• By the formula of the algorithm's paper, whoever sees all rows that others send in "
            f"{rounds.rounds} rounds, and what `colluding` nodes drew, learns of the gradients of node "
            f"{rounds.node} with ε = {rounds.epsilon:.4f} ({rounds.epsilon_by_rdp:.4f} by RDP); a round loses "
            f"{rounds.per_round:.6e} · α of Rényi order α.",
            highlight=False,
            soft_wrap=True,
        )
    for each in report.coalitions:
        console.print(
            f"• Coalition of {len(each.members)} ({each.chosen}): nodes {', '.join(map(str, each.members))} "
            f"learn {each.mean:.4g}{' (μ²)' if report.unit == 'mu_squared' else ''} of the others on average, "
            f"{each.largest:.4g} at most, and compute all values of {each.reconstructed} of {each.others}.",
            highlight=False,
            soft_wrap=True,
        )
    if any(each.above_published for each in report.by_distance):
        why = (
            "(Muffliato, Cyffers et al. 2022), which adds messages as if their noises were independent."
            if report.overheard is None
            else "of the algorithm's paper, which is for an observer who knows none of the noise: a neighbour "
            "knows what it drew with a node."
        )
        console.print(
            f"• !: in so many pairs the exact loss is above the published bound {why}",
            highlight=False,
            soft_wrap=True,
        )
    for assumption in assumptions(report):
        console.print(f"Assumed: {assumption}", highlight=False, soft_wrap=True, style="dim")


def assumptions(report: PrivacyReport) -> list[str]:
    """What the figures hold under."""
    if report.bound is not None:
        return [
            "a node changes each of its values, or each row that it clips, by at most the sensitivity, and draws "
            "Gaussian noise as it is declared;",
            f"losses are bounded, not exact: rows go through {', '.join(report.bound.after)}, and count as if "
            "observers saw them as they were before, and knew everything of all other nodes.",
        ]
    one = report.values.max() == 1
    unit = "its one value" if one else "each of its training steps (the clipped gradient)"
    said = [
        f"a node changes {unit} by at most the sensitivity, and draws Gaussian noise as it is declared;",
        "nodes do as the algorithm says; all that is sent is linear in values and noise; rounding hides nothing;",
        "observers know the algorithm, who sent when to whom, and all they received, and see nothing else.",
    ]
    if not one:
        said.append(
            "gradients of other nodes count as given: what they tell of the models that they were computed at is "
            "not counted. The bound for whoever sees all noisy values of a node holds regardless."
        )
    return said


def _table(report: PrivacyReport) -> Table:
    from rich import box
    from rich.table import Table

    digits = ".4f" if report.unit == "share" else ".3g"
    shown = any(each.published is not None for each in report.by_distance)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    unit = " μ²" if report.unit == "mu_squared" else ""
    for heading in ("distance", "pairs", "computed", f"mean{unit}", f"largest{unit}", "ε", "by RDP"):
        table.add_column(heading, justify="right", no_wrap=True)
    if shown:
        table.add_column("published", justify="right", no_wrap=True)
        table.add_column("above", justify="right", no_wrap=True)
    for each in report.by_distance:
        row = [
            "–" if each.distance < 0 else str(each.distance),
            f"{each.pairs:,}",
            f"{each.reconstructed:,}",
            f"{each.mean:{digits}}",
            f"{each.largest:{digits}}",
            f"{each.guarantee.epsilon:.4g}",
            f"{each.guarantee.epsilon_by_rdp:.4g}",
        ]
        if shown:
            row.append("–" if each.published is None else f"{each.published:{digits}}")
            row.append(f"! {each.above_published:,}" if each.above_published else "")
        table.add_row(*row)
    return table


class _Accounting(TyperGroup):
    """Sub-commands of ``gossipfl privacy``; without the name of one, its first is meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's own click
        if args and args[0] not in {*self.commands, "--help", "-h"}:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Find a command; any other first argument is a source of the default one."""
        return super().get_command(ctx, cmd_name if cmd_name in self.commands else _DEFAULT)


app = typer.Typer(
    name="privacy",
    cls=_Accounting,
    no_args_is_help=True,
    help="Say what nodes could learn of one another: exactly, and by the attacks that users will try.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(_DEFAULT)(privacy)
app.command()(attack)
