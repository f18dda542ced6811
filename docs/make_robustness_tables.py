"""Tables of rules under attack in docs/robustness.md: ``python docs/make_robustness_tables.py`` (some minutes)."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

from make_algorithm_tables import DOCS, placed

import sims
from sims.world.trace_cache import Traces

BY = "docs/make_robustness_tables.py"
LARGEST = 11
STOOD = 1e-3
TRACES = Traces()

RULES = {
    "mean": 'name = "d_psgd"',
    "trimmed mean": 'name = "trimmed_mean", hostile = {b}',
    "median": 'name = "coordinate_median"',
    "geometric median": 'name = "geometric_median"',
    "Krum": 'name = "krum", hostile = {b}',
    "multi-Krum after NNM": 'name = "krum", hostile = {b}, chosen = {kept}, before = "nearest_mixing"',
    "trimmed mean after NNM": 'name = "trimmed_mean", hostile = {b}, before = "nearest_mixing"',
    "nearest neighbours": 'name = "nearest_neighbours", hostile = {b}',
    "clipped gossip": 'name = "clipped_gossip", hostile = {b}',
    "CS₊": 'name = "cs_plus", hostile = {b}',
    "GTS": 'name = "gts", hostile = {b}',
    "UBAR": 'name = "ubar", kept = {share}',
    "BALANCE": 'name = "balance", radius = 0.5, horizon = {rounds}',
    "Sketchguard": 'name = "sketchguard", radius = 0.5, horizon = {rounds}',
}
ON_DATA = {"UBAR", "BALANCE", "Sketchguard"}  # which compare losses or norms of models
COLLUDING = {
    "spectral": [f'name = "spectral", factor = {factor}' for factor in (1.9, 3.0)],
    "dissensus": [f'name = "dissensus", factor = {factor}' for factor in (1.5, 3.0)],
    "ALIE": ['name = "alie"', 'name = "alie", factor = 3.0'],
    "IPM": [f'name = "ipm", factor = {factor}' for factor in (0.5, 2.0)],
}
ATTACKS = {
    "none": 'name = "noise"',
    "sign flip": 'name = "sign_flip"',
    "label flip": 'name = "label_flip"',
    "little per step": 'name = "little_per_step", move = 0.2',
    "mimic": 'name = "mimic"',
    "ALIE": 'name = "alie"',
    "IPM": 'name = "ipm", factor = 1.0',
    "dissensus": 'name = "dissensus", factor = 1.5',
}


def in_two_worlds(rule: str, attack: str, b: int) -> float:
    """Consensus distance of the honest after 60 rounds, over that at first."""
    n = 26 + b
    text = RULES[rule].format(b=b, kept=26 - 6, share=20 / (20 + b), rounds=60)
    weights = ', weights = "max_degree"' if rule in ("mean", "clipped gossip", "CS₊", "GTS") else ""
    result = sims.run(
        "two-worlds",
        overrides=[
            f"population.nodes={n}",
            f"task.options.nodes={n}",
            f"topology.beside={b}",
            f"algorithm={{{text}{weights}}}",
            f'attack={{{attack}, count = {b}, place = "last"}}',
        ],
        compile_when="never",
        traces=TRACES,
    )
    distance = result.evaluations["consensus_distance"]
    return distance[-1] / distance[0]


def stands(rule: str, attack: str) -> int:
    """The largest b up to which the honest nodes come together."""
    for b in range(1, LARGEST + 1):
        if not all(in_two_worlds(rule, each, b) < STOOD for each in COLLUDING[attack]):
            return b - 1
    return LARGEST


def accuracy(rule: str, attack: str) -> float:
    """Mean accuracy of the honest on digits, in per cent."""
    text = RULES[rule].format(b=4, kept=16, share=0.75, rounds=100)
    result = sims.run(
        "hostile-digits",
        overrides=[
            f"algorithm={{{text}}}",
            f"attack={{{ATTACKS[attack]}, count = {0 if attack == 'none' else 4}}}",
        ],
        compile_when="never",
        traces=TRACES,
    )
    return 100 * float(result.evaluations["accuracy_mean"][-1])


def rows(rules: list[str], columns: list[str], cell: Callable[[str, str], str]) -> Iterator[str]:
    """Lines of one table."""
    yield f"| rule | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for rule in rules:
        line = f"| {rule} | {' | '.join(cell(rule, column) for column in columns)} |"
        print(line, flush=True)
        yield line


def main() -> None:
    """Measure, and write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["worlds", "digits"])
    only = parser.parse_args().only
    page = DOCS / "robustness.md"
    if only != "digits":
        table = rows([r for r in RULES if r not in ON_DATA], list(COLLUDING), lambda r, a: str(stands(r, a)))
        page.write_text(placed(page.read_text("utf-8"), "worlds", "\n".join(table), by=BY), "utf-8")
    if only != "worlds":
        table = rows(list(RULES), list(ATTACKS), lambda r, a: f"{accuracy(r, a):.0f}")
        page.write_text(placed(page.read_text("utf-8"), "digits", "\n".join(table), by=BY), "utf-8")


if __name__ == "__main__":
    main()
