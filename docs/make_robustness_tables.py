"""Tables of rules under attack in docs/robustness.md: ``python docs/make_robustness_tables.py`` (some minutes).

``python docs/make_robustness_tables.py digits`` makes the table of accuracies on digits (some minutes), and
``python docs/make_robustness_tables.py gate FILE...`` the tables of docs/gate.md, of figures that
``python benchmarks/gate_under_attack.py --keep FILE`` has measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from make_algorithm_tables import DOCS, placed

import sims
from sims.scenario import load_scenario
from sims.world import build_world
from sims.world.trace_cache import Traces

BY = "docs/make_robustness_tables.py"
HOSTILE = range(1, 12)
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


RULES_ON_DIGITS = {
    "averaging": 'name = "d_psgd"',
    "GTS": 'name = "gts", hostile = 4',
    "CS₊": 'name = "cs_plus", hostile = 4',
    "clipped gossip, τ from distances": 'name = "clipped_gossip", hostile = 4',
    "nearest neighbours": 'name = "nearest_neighbours", hostile = 4',
    "trimmed mean": 'name = "trimmed_mean", hostile = 4',
    "the same, after nearest-neighbour mixing": (
        'name = "trimmed_mean", hostile = 4, before = "nearest_mixing"'
    ),
    "coordinate median": 'name = "coordinate_median"',
    "geometric median": 'name = "geometric_median"',
    "multi-Krum": 'name = "krum", hostile = 4, chosen = 12',
    "UBAR": 'name = "ubar", kept = 0.8',
    "BALANCE": 'name = "balance"',
    "Sketchguard": 'name = "sketchguard"',
}
ATTACKS_ON_DIGITS = (
    "sign_flip",
    "scaled_noise",
    "label_flip",
    "alie",
    "ipm",
    "dissensus",
    "spectral",
    "mimic",
)


def points(rule: str, attack: str | None) -> float:
    """Mean accuracy of the honest on digits, in percent."""
    hostile = f'{{name = "{attack}", count = 4}}' if attack else '{name = "echo", count = 0}'
    scenario = load_scenario("hostile-digits", overrides=[f"algorithm={{{rule}}}", f"attack={hostile}"])
    return 100 * sims.run(scenario, compile_when="never", traces=TRACES).evaluations["accuracy_mean"][-1]


def digits() -> list[str]:
    """Lines of the table of accuracies."""
    heads = ["rule", "nobody", *(f"`{each}`" for each in ATTACKS_ON_DIGITS)]
    lines = [f"| {' | '.join(heads)} |", f"{'|---' * len(heads)}|"]
    print("\n".join(lines))
    for name, rule in RULES_ON_DIGITS.items():
        cells = [f"{points(rule, attack):.0f}" for attack in (None, *ATTACKS_ON_DIGITS)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def worlds() -> list[str]:
    """Lines of the table of agreement."""
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


Figure = dict[str, Any]
NAMES = {
    "none": "no gate",
    "history": "pulled in",
    "gate": "gate",
    "averaging": "rounds, averaging",
    "gts": "rounds, `gts`, b = 4",
    "gts, 8": "rounds, `gts`, b = 8",
    "cs_plus": "rounds, `cs_plus`",
    "trimmed_mean": "rounds, `trimmed_mean` after `nearest_mixing`",
    "clipped_gossip": "rounds, `clipped_gossip`",
}


def gate(files: Sequence[str]) -> list[str]:
    """Lines of the tables of the gate: one for each number of nodes and of rounds."""
    kept = [Path(file).read_text("utf-8").splitlines() for file in files]
    placed_lines = sorted((at, number, line) for number, of in enumerate(kept) for at, line in enumerate(of))
    figures = [json.loads(line) for _, _, line in placed_lines]  # as parts K/M of a table take turns
    lines: list[str] = []
    for nodes, rounds in sorted({(each["nodes"], each["rounds"]) for each in figures}):
        of_these = [each for each in figures if (each["nodes"], each["rounds"]) == (nodes, rounds)]
        lines += ["", *of_size(of_these, f"{nodes:,} nodes, {rounds} rounds"), ""]
    return lines


def of_size(figures: Sequence[Figure], head: str) -> list[str]:
    """Lines of one of them, the attacks in the order of the benchmark: that of their first figures."""
    defences = [each for each in NAMES if any(f["defence"] == each for f in figures)]
    columns = [
        (defence, share)
        for defence in defences
        for share in sorted(
            {each["share"] for each in figures if each["share"] and each["defence"] == defence}
        )
    ]
    found = {(each["attack"], each["defence"], each["share"]): each["accuracy"] for each in figures}
    undisturbed = ", ".join(
        f"{NAMES[each]} {found[None, each, 0.0]:.1f}" for each in defences if (None, each, 0.0) in found
    )
    heads = [f"{head} (nobody lies: {undisturbed})", *(f"{NAMES[d]}, {share:.0%}" for d, share in columns)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for attack in dict.fromkeys(each["attack"] for each in figures if each["attack"]):
        cells = [found.get((attack, *column)) for column in columns]
        lines.append(f"| {attack} | {' | '.join('' if each is None else f'{each:.1f}' for each in cells)} |")
    return lines


if __name__ == "__main__":
    kind, *files = sys.argv[1:] or ["worlds"]
    if kind == "gate":
        page = DOCS / "gate.md"
        page.write_text(placed(page.read_text("utf-8"), kind, "\n".join(gate(files)), by=BY), "utf-8")
        raise SystemExit
    name, made = ("digits", digits()) if kind == "digits" else ("worlds", worlds())
    page = DOCS / "robustness.md"
    page.write_text(placed(page.read_text("utf-8"), name, "\n".join(made), by=BY), "utf-8")
