"""The page of papers' figures next to ours, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from sims.papers.claim import Comparison, Finding

__all__ = ["page"]

_HEAD = """# Papers, reproduced

What papers published beside what this project measures, made by

```bash
gossipfl sim papers --report docs/papers.md
```

(`make papers` in a clone.) One claim alone: `gossipfl sim papers NAME`; a version of it that takes seconds:
`--quick`. Every claim is a sweep in `sims/scenarios/papers/` that can be run and changed by itself with
`gossipfl sim sweep FILE`. In the tables *theirs / ours* stand in each cell, ours as the mean over the seeds;
**bold** is what lies outside the tolerance.
"""


def page(findings: Sequence[Finding]) -> str:
    """Write the page."""
    return "\n".join([_HEAD, *(_section(finding) for finding in findings)])


def _section(finding: Finding) -> str:
    claim = finding.claim
    seeds = f"{len(finding.seeds)} seed{'s' if len(finding.seeds) > 1 else ''}"
    lines = [
        f"## {claim.title}",
        "",
        f"{claim.paper}.",
        "",
        claim.remark,
        "",
        f"`gossipfl sim papers {claim.name}`, {seeds}, {finding.seconds:.0f} s.",
        "",
        *_table(finding.comparisons),
        "",
    ]
    lines += [f"* {statement}: {'yes' if holds else '**no**'}" for statement, holds in finding.gates]
    return "\n".join([*lines, ""])


def _table(comparisons: Sequence[Comparison]) -> list[str]:
    columns = list(dict.fromkeys(comparison.figure.what for comparison in comparisons))
    variants = list(dict.fromkeys(comparison.figure.variant for comparison in comparisons))
    cells = {(c.figure.variant, c.figure.what): _cell(c) for c in comparisons}
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {variant} | {' | '.join(cells.get((variant, what), '') for what in columns)} |"
        for variant in variants
    ]
    return lines


def _cell(comparison: Comparison) -> str:
    ours = number(comparison.measured)
    if comparison.figure.published is None:
        return ours
    cell = f"{number(comparison.figure.published)} / {ours}"
    return cell if comparison.reproduced else f"**{cell}**"


def number(value: float) -> str:
    """Format a number with three or four digits, as a power of ten where it is very small."""
    if value != value:  # noqa: PLR0124 - NaN: it never happened
        return "never"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.2e}"
