"""``gossipfl stats``: common statistics of tables, and common words, of data that stay with their owners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gossipfl.cli.options import (
    HomeOption,
    JsonOption,
    LingerOption,
    MinutesOption,
    RosterOption,
    command_group,
    tell,
)
from gossipfl.cli.stats_words import words

if TYPE_CHECKING:
    from gossipfl.statistics import CommonStatistics, Summary, TableSchema

__all__ = ["app"]

app = command_group(
    "Common statistics of tables, and words that many use, of data that stay with their owners."
)
app.command()(words)

OptionalHome = Annotated[Path | None, typer.Option("--home", help="Directory of the peer.")]


@app.command()
def summarise(
    file: Annotated[Path | None, typer.Argument(help="CSV file; the peer's own if not given.")] = None,
    *,
    schema: Annotated[Path | None, typer.Option("--schema", help="Schema of the table, a TOML file.")] = None,
    home: OptionalHome = None,
    json_output: JsonOption = False,
) -> None:
    """Show what a table's owner would tell other members, and tell nobody.

    Of a file, all columns of the schema are shown; of a peer's home, those that its settings let it tell.
    """
    from gossipfl.statistics import load_schema
    from gossipfl.tasks.table_rows import read_rows, summarised

    if home is not None:
        from gossipfl.peer.statistics.own import OwnTable
        from gossipfl.peer.store.home import Home
        from gossipfl.settings import load_settings

        place = Home(home)
        place.require()
        own = OwnTable.of(load_settings(place.settings), home)
        read, rows = own.schema, read_rows(file or own.file, own.schema)
        summary = summarised(rows, read, told=own.told or tuple(read.columns))
        allowed = "" if own.told else " Nothing may leave yet: stats.columns in peer.toml is empty."
    elif file is None or schema is None:
        raise typer.BadParameter("a CSV file and --schema, or --home of a peer", param_hint="FILE")
    else:
        read = load_schema(schema)
        rows, allowed = read_rows(file, read), ""
        summary = summarised(rows, read, told=tuple(read.columns))
    lines = [*summary_lines(summary, read), f"This is all that would leave.{allowed}"]
    tell(summary_values(summary, read), lines, as_json=json_output)


@app.command()
def gather(
    *,
    home: HomeOption,
    members: Annotated[
        int | None, typer.Option("--members", min=1, help="Wait for as many members, this one included.")
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member", help="Wait for the member with this peer id, and count no others; repeatable."
        ),
    ] = None,
    masked: Annotated[
        bool,
        typer.Option(
            "--masked",
            help="Learn only the sums of all members' tables, and tell this one's masked; needs --member for all "
            "members, four or more.",
        ),
    ] = False,
    linger: LingerOption = 30.0,
    minutes: MinutesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would leave, and tell nobody.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Gather common statistics with the other members of the network, before learning.

    Each member tells the sums of its own table, signed, and all add up the same: all must print the same digest.
    The statistics are kept where the task looks for them. What leaves is shown first, and stats.columns in
    peer.toml must allow it. Meanwhile others can join by this peer's invitations.
    """
    if dry_run:
        summarise(None, schema=None, home=home, json_output=json_output)
        return
    if members is None and not member:
        raise typer.BadParameter("say for how many, or for whom with --member", param_hint="--members")
    if masked and not member:
        raise typer.BadParameter("--masked needs all members by name", param_hint="--member")
    import trio

    from gossipfl.cli.gathering import until_signalled
    from gossipfl.nurseries import naming_the_first_error
    from gossipfl.peer.statistics.own import OwnTable
    from gossipfl.peer.statistics.phase import gather as gather_statistics
    from gossipfl.peer.statistics.phase import is_complete_with
    from gossipfl.peer.store.home import Home
    from gossipfl.settings import load_settings

    def report(line: str) -> None:
        typer.echo(line, err=True)

    place, roster = Home(home), member or []
    place.require()
    settings = load_settings(place.settings)
    own = OwnTable.of(settings, home)
    own.require_told()
    leaves = "This leaves this peer, masked:" if masked else "This leaves this peer:"
    for line in (leaves, *summary_lines(own.summary(), own.schema)):
        report(line)
    is_complete = is_complete_with(members or len(roster), roster)
    with naming_the_first_error():
        common = trio.run(
            until_signalled,
            lambda: gather_statistics(
                place,
                settings,
                is_complete=is_complete,
                roster=roster,
                masked=masked,
                linger=linger,
                report=report,
            ),
            minutes,
        )
    told = [*summary_lines(common.total, common.schema), *member_lines(common.members)]
    kept = f"Kept in {own.stats}. All members must have this digest."
    tell(
        {**common.to_dict(), "file": str(own.stats)},
        [*told, f"digest {common.digest}", kept],
        as_json=json_output,
    )


@app.command()
def contributions(
    *,
    home: HomeOption,
    member: RosterOption = None,
    linger: LingerOption = 30.0,
    minutes: MinutesOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be added up, and tell nobody.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Add up what each member's models did for the others, without showing who was helped by whom.

    Sums the effects of merges that evaluation.merge_samples left in the members' records, masked, so that nobody
    learns a single member's. A member whose models fewer than 3 others measured is left out. Run it at all members
    at the same time, while none of their peers runs.
    """
    if not member:
        raise typer.BadParameter("say who all members are, this one included", param_hint="--member")
    import trio

    from gossipfl.cli.gathering import until_signalled
    from gossipfl.network import load_or_create_identity
    from gossipfl.nurseries import naming_the_first_error
    from gossipfl.peer.statistics.phase import gather_contributions, own_merges
    from gossipfl.peer.store.home import Home
    from gossipfl.settings import load_settings

    def report(line: str) -> None:
        typer.echo(line, err=True)

    place = Home(home)
    place.require()
    settings = load_settings(place.settings)
    schema, own = own_merges(place, member, load_or_create_identity(home).peer_id)
    if dry_run:
        lines = [*summary_lines(own, schema), "This would leave, masked; senders' names openly."]
        tell(summary_values(own, schema), lines, as_json=json_output)
        return
    report(
        f"Of {own.rows} measured merges the sums leave this peer, masked, and openly whose models they were."
    )
    with naming_the_first_error():
        common = trio.run(
            until_signalled,
            lambda: gather_contributions(place, settings, roster=member, linger=linger, report=report),
            minutes,
        )
    told = [*contribution_lines(common), f"digest {common.digest}", f"Kept in {place.contributions}."]
    tell({**common.to_dict(), "file": str(place.contributions)}, told, as_json=json_output)


@app.command()
def show(
    file: Annotated[Path | None, typer.Argument(help="File of common statistics.")] = None,
    *,
    home: OptionalHome = None,
    json_output: JsonOption = False,
) -> None:
    """Show common statistics that were gathered: members, sums, and the digest that all members must share."""
    from gossipfl.statistics import CommonStatistics

    if home is not None:
        from gossipfl.peer.statistics.own import OwnTable
        from gossipfl.peer.store.home import Home
        from gossipfl.settings import load_settings

        place = Home(home)
        place.require()
        file = OwnTable.of(load_settings(place.settings), home).stats
    if file is None:
        raise typer.BadParameter("a file of common statistics, or --home of a peer", param_hint="FILE")
    read = CommonStatistics.load(file)
    tell(
        read.to_dict(),
        [*summary_lines(read.total, read.schema), *member_lines(read.members), f"digest {read.digest}"],
        as_json=json_output,
    )


def summary_values(summary: Summary, schema: TableSchema) -> dict[str, Any]:
    """Return a summary as plain values, with sums as exact decimal numbers."""
    from gossipfl.statistics.common import exact_values

    columns = zip(schema.columns, summary.columns, strict=True)
    return {"rows": summary.rows, "columns": {name: exact_values(each) for name, each in columns}}


def summary_lines(summary: Summary, schema: TableSchema) -> Iterator[str]:
    """Return a summary as a table, a column a line."""
    from gossipfl.statistics import CategorySummary, CommonStatistics
    from gossipfl.statistics.units import decimal_of, squared_decimal_of

    common = CommonStatistics(schema=schema, members={}, total=summary)
    lines = [("column", "rows", "mean", "deviation", "sum", "sum of squares")]
    told: list[str] = []
    for name, each in zip(schema.columns, summary.columns, strict=True):
        if isinstance(each, CategorySummary):
            counts = [f"{category} {rows}" for category, rows in each.rows.items()]
            counts += [f"(others) {each.other}"] if each.other else []
            told.append(f"{name}: {', '.join(counts) or 'not told'}")
        elif each.present:
            spread = (f"{common.mean(name):.4g}", f"{common.deviation(name):.4g}")
            sums = (decimal_of(each.total), squared_decimal_of(each.squares))
            lines.append((name, str(each.present), *spread, *sums))
            if each.extremes is not None:
                told.append(f"{name}: from {decimal_of(each.extremes[0])} to {decimal_of(each.extremes[1])}")
        else:
            lines.append((name, "not told", "", "", "", ""))
    yield f"{summary.rows} rows"
    yield from _aligned(lines)
    yield from told


def contribution_lines(common: CommonStatistics) -> Iterator[str]:
    """Return what each member's models did for the others as a table, those who gave most first."""
    from gossipfl.peer.statistics.contributions import contributions_in

    found = contributions_in(common)
    lines = [("member", "merges", "mean effect", "± 2 standard errors", "sum of effects")]
    for name, each in sorted(found.items(), key=lambda pair: (-pair[1].mean, pair[0])):
        if each.merges:
            error = f"{2 * each.standard_error:.2g}"
            lines.append((name, str(each.merges), f"{each.mean:+.4g}", error, f"{each.total:+.4g}"))
    yield f"{common.total.rows} measured merges"
    yield from _aligned(lines)
    untold = [name for name, each in found.items() if not each.merges]
    if untold:
        yield f"not told, as fewer than 3 others measured their models: {', '.join(untold)}"


def member_lines(members: Mapping[str, int]) -> Iterator[str]:
    """Return the members in a set of statistics, with the rows of each."""
    yield f"{len(members)} members:"
    yield from (f"  {peer_id}  {rows or 'untold'} rows" for peer_id, rows in sorted(members.items()))


def _aligned(lines: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for name, *cells in lines:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *aligned]).rstrip()
