"""``python -m tests.integration.security_table > docs/security-table.md`` writes the table anew."""

from .hostile_inputs import CASES


def render() -> str:
    """The table, in Markdown."""
    lines = [
        "# What hostile inputs lead to",
        "",
        "Each line is carried out against a running peer by `tests/integration/test_hostile.py`. In every",
        "case the peer's model stays exactly as it was, its memory stays bounded, and it serves an honest",
        "peer right afterwards. Counters are in `gossipfl peer status --json`, under `network.refused`. A",
        "peer that commits offences again and again is banned, longer each time.",
        "",
        "| input | error | counter | consequence |",
        "|---|---|---|---|",
    ]
    for each in CASES:
        error = f"`{each.error.__name__}`" if each.error else "–"
        counter = f"`{each.counter}`" if each.error else "–"
        lines.append(f"| {each.what} | {error} | {counter} | {each.consequence} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(), end="")
