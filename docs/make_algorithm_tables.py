"""The tables of docs/algorithms.md, from what algorithms declare: ``python docs/make_algorithm_tables.py``."""

from __future__ import annotations

from pathlib import Path

from gossipfl.algorithms.description import Description, described
from gossipfl.algorithms.registry import bundled

PAGE = Path(__file__).parent / "algorithms.md"
TITLES = ("name", "rule", "paper", "mixing or topology", "numbers sent", "runs in")


def kind_of(each: Description) -> str:
    """Which of the page's tables an algorithm belongs to."""
    if each.kind == "by messages":
        return "messages"
    return "server" if "server" in each.mixing else "rounds"


def table(kind: str) -> str:
    """One table, in alphabetical order."""
    lines = [f"| {' | '.join(TITLES)} |", "|---" * len(TITLES) + "|"]
    for name, declared in sorted(bundled().items()):
        each = described(name, declared)
        if kind_of(each) == kind:
            cells = (f"`{each.name}`", f"`{each.rule}`", each.paper, each.mixing, each.sends, each.places)
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with its tables as they should be."""
    for kind in ("rounds", "messages", "server"):
        begin, end = f"<!-- {kind}: made by docs/make_algorithm_tables.py -->", f"<!-- end of {kind} -->"
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not found or not ended:
            raise SystemExit(f"{PAGE} has no place for the table of {kind}")
        page = f"{before}{begin}\n{table(kind)}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
