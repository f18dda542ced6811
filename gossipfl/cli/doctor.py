"""``gossipfl doctor``: what is wrong with a peer, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from gossipfl.cli.options import HomeOption, JsonOption, tell

if TYPE_CHECKING:
    from gossipfl.peer.doctor.findings import Finding

__all__ = ["app"]

app = typer.Typer(help="Examine a peer.", add_completion=False, pretty_exceptions_enable=False)

_COLOURS: Final = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "error": typer.colors.RED}
_INDENT: Final = " " * 9


@app.command()
def doctor(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Examine a peer, its machine and its network, and say what to do about each finding.

    A running peer asks its neighbours to dial back, and what time it is there. The exit code is 1 if something
    keeps the peer from working.
    """
    from gossipfl.peer.doctor.diagnosis import diagnose
    from gossipfl.peer.doctor.findings import worst
    from gossipfl.peer.store.home import Home

    findings = diagnose(Home(home))
    level = worst(findings)
    if json_output:
        values = {"worst": level, "findings": [each.to_dict() for each in findings]}
        tell(values, [], as_json=True)
    else:
        _show(findings)
    raise typer.Exit(int(level == "error"))


def _show(findings: list[Finding]) -> None:
    for each in findings:
        level = typer.style(f"{each.level:<8}", fg=_COLOURS[each.level])
        typer.echo(f"{level} {each.name}: {each.seen}")
        if each.remedy is not None:
            typer.echo(f"{_INDENT}→ {each.remedy}")
