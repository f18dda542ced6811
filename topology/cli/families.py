"""``list``: the registry of topologies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from topology.cli.failures import reports_errors

if TYPE_CHECKING:
    from topology.catalogue import Family

__all__ = ["list_families"]


@reports_errors
def list_families(
    name: Annotated[
        str | None, typer.Argument(help="Only this family or package.module:function, with its parameters.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,  # noqa: FBT002
) -> None:
    """List the topologies that scenarios, peers and these commands accept; or one with its parameters."""
    from topology.catalogue import families, find_family

    found = families() if name is None else (find_family(name),)
    if as_json:
        typer.echo(json.dumps([_as_json(family) for family in found], indent=2, ensure_ascii=False))
        return
    from topology.cli.tables import print_table

    if name is None:
        print_table(
            ["written as", "what it is", "from"],
            [[family.usage, family.summary, family.citation] for family in found],
            title="Topologies; graphs also take weights=…, everything takes shuffled=SEED. "
            "Your own: package.module:function, package.module:function:NAME=VALUE,…",
        )
        return
    (family,) = found
    facts = [
        ["written as", family.usage],
        ["kind", family.described_kind],
        ["needs", family.needs],
        ["from", family.citation],
    ]
    print_table([family.name, family.summary], [[key, value] for key, value in facts if value])
    typer.echo("")
    print_table(
        ["parameter", "takes", "by default", "meaning"],
        [
            [p.name, p.bounds, "" if p.required or p.default is None else p.written(p.default), p.description]
            for p in family.parameters
        ],
    )


def _as_json(family: Family) -> dict[str, object]:
    shown = ("name", "usage", "kind", "directed", "random", "needs", "summary", "citation", "example")
    return {name: getattr(family, name) for name in shown} | {
        "parameters": [
            {
                "name": p.name,
                "takes": p.reading,
                "required": p.required,
                "default": None if p.required else p.default,
            }
            | {name: getattr(p, name) for name in ("least", "most", "choices", "description")}
            for p in family.parameters
        ],
    }
