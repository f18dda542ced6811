"""Table of rules under attack in docs/robustness.md: ``python docs/make_robustness_tables.py`` (some minutes)."""

from __future__ import annotations

from make_algorithm_tables import DOCS, placed

import sims
from sims.scenario import load_scenario
from sims.world import build_world
from sims.world.trace_cache import Traces

BY = "docs/make_robustness_tables.py"
HOSTILE = (1, 3, 4, 6, 7, 8, 9, 11)
STOOD = 1e-2
TRACES = Traces()

RULES = {
    "GTS": 'name = "gts", hostile = {b}, weights = "max_degree"',
    "CS₊": 'name = "cs_plus", hostile = {b}, weights = "max_degree"',
    "clipped gossip, τ from distances": 'name = "clipped_gossip", hostile = {b}, weights = "max_degree"',
    "nearest neighbours": 'name = "nearest_neighbours", hostile = {b}',
    "trimmed mean": 'name = "trimmed_mean", hostile = {b}',
    "coordinate median": 'name = "coordinate_median"',
    "geometric median": 'name = "geometric_median"',
}
ATTACKS = {
    "spectral": ('name = "spectral", search = true, at_most = 4.0', 'name = "spectral", factor = 1.9'),
    "dissensus": ('name = "dissensus", search = true',),
    "ALIE": ('name = "alie", search = true',),
    "IPM": ('name = "ipm", search = true',),
}


def measured(rule: str, attack: str, b: int) -> tuple[float, float]:
    """Consensus distance of the honest after 60 rounds, and their mean's squared move, over that at first."""
    scenario = load_scenario(
        "two-worlds",
        overrides=[
            f"population.nodes={26 + b}",
            f"task.options.nodes={26 + b}",
            "task.options.size=20",
            f"topology.beside={b}",
            f"algorithm={{{RULES[rule].format(b=b)}}}",
            f'attack={{{attack}, count = {b}, place = "last"}}',
        ],
    )
    result = sims.run(scenario, compile_when="never", traces=TRACES)
    first, last = build_world(scenario).first_rows()[:26].double(), result.rows[:26].double()
    distances = result.evaluations["consensus_distance"]
    moved = float((last.mean(0) - first.mean(0)).square().sum())
    return distances[-1] / distances[0], moved / distances[0]


def rows() -> list[str]:
    """Lines of the table."""
    heads = [
        "rule",
        *(f"spectral, {b}" for b in HOSTILE),
        *(f"stands {a}" for a in ATTACKS),
        "moved by ALIE, 7",
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for rule in RULES:
        found = {
            (name, b): [measured(rule, attack, b) for attack in attacks]
            for name, attacks in ATTACKS.items()
            for b in HOSTILE
        }
        worst = {place: max(left for left, _ in several) for place, several in found.items()}
        cells = [f"{worst['spectral', b]:.0e}" for b in HOSTILE]
        for name in ATTACKS:
            failed = [b for b in HOSTILE if not worst[name, b] < STOOD]
            stood = [b for b in HOSTILE if not failed or b < failed[0]]
            cells.append(str(stood[-1]) if stood else "none")
        lines.append(f"| {rule} | {' | '.join(cells)} | {found['ALIE', 7][0][1]:.1f} |")
        print(lines[-1], flush=True)
    return lines


if __name__ == "__main__":
    page = DOCS / "robustness.md"
    page.write_text(placed(page.read_text("utf-8"), "worlds", "\n".join(rows()), by=BY), "utf-8")
