"""Tables of algorithms and attacks, from what they declare: ``python docs/make_algorithm_tables.py``."""

from __future__ import annotations

from pathlib import Path

from gossipfl.algorithms.description import Description, described
from gossipfl.algorithms.registry import bundled
from gossipfl.attacks import Aimed, Poisoned
from gossipfl.attacks.registry import bundled as attacks

DOCS = Path(__file__).parent
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


def attack_table() -> str:
    """All attacks, in alphabetical order."""
    lines = ["| name | sends | knows | paper |", "|---|---|---|---|"]
    for name, declared in attacks().items():
        knows = "all rows" if issubclass(declared, Aimed) else "its own row"
        knows = "its own data" if issubclass(declared, Poisoned) else knows
        lines.append(f"| `{name}` | `{declared.rule}` | {knows} | {declared.paper} |")
    return "\n".join(lines)


def placed(page: str, kind: str, made: str, *, by: str = "docs/make_algorithm_tables.py") -> str:
    """The page with one table in its place."""
    begin, end = f"<!-- {kind}: made by {by} -->", f"<!-- end of {kind} -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"there is no place for the table of {kind}")
    return f"{before}{begin}\n{made}\n{end}{after}"


def pages() -> dict[str, str]:
    """The pages with their tables as they should be, by name."""
    algorithms = (DOCS / "algorithms.md").read_text(encoding="utf-8")
    for kind in ("rounds", "messages", "server"):
        algorithms = placed(algorithms, kind, table(kind))
    robustness = (DOCS / "robustness.md").read_text(encoding="utf-8")
    return {"algorithms.md": algorithms, "robustness.md": placed(robustness, "attacks", attack_table())}


if __name__ == "__main__":
    for name, page in pages().items():
        (DOCS / name).write_text(page, encoding="utf-8")
