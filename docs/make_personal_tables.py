"""Tables of personal models in docs/personal.md: ``python docs/make_personal_tables.py [RECORDS]``.

Takes more than an hour on two cores. Runs that a directory of records holds already are not repeated.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from make_algorithm_tables import DOCS, placed

import sims
from sims.metrics.intervals import mean_interval

BY = "docs/make_personal_tables.py"
SEEDS, FEWER_SEEDS = [1, 2, 3, 4, 5], [1, 2, 3]
CLUSTERS = {"rotated-digits": 4, "conflicting-labels": 3}
NODES = 24
EVERYBODY = {"name": "complete"}


def apart(groups: int) -> dict[str, Any]:
    """Groups of nodes without links between them."""
    return {"name": "sims.scenarios.apart:apart", "groups": groups}


def similarity(sharpness: float, by: str) -> dict[str, Any]:
    """Neighbours weighed by likeness."""
    return {"name": "similarity_weights", "by": by, "sharpness": sharpness}


def variants(clusters: int) -> dict[str, dict[str, Any]]:
    """What is compared, each at a step size of its own, by its name in the table."""
    head = {"task.options.local": "2.*"}
    return {
        "**shared only**: D-PSGD": {"algorithm": {"name": "d_psgd"}},
        "**alone**": {"topology": apart(NODES)},
        "**oracle**: D-PSGD within each cluster": {"topology": apart(clusters)},
        "shared, 50 steps of fine-tuning": {"evaluate.fine_tune": 50},
        "own head (last layer stays local)": head,
        "own head, 10 steps of fine-tuning": {**head, "evaluate.fine_tune": 10},
        "`apfl`, α = 0.5": {"algorithm": {"name": "apfl"}},
        "`pens`, top 1 of 6": {"algorithm": {"name": "pens", "top": 1, "search": 75}},
        "`pens`, top 2 of 6": {"algorithm": {"name": "pens", "top": 2, "search": 75}},
        "`similarity_weights` by loss, τ = 20": {"algorithm": similarity(20.0, "loss")},
        "`similarity_weights` by cosine, τ = 5": {"algorithm": similarity(5.0, "cosine")},
        "`similarity_weights` by cosine, τ = 10": {"algorithm": similarity(10.0, "cosine")},
        "`ifca`, as many models as clusters": {"algorithm": {"name": "ifca", "models": clusters}},
    }


def more_variants(clusters: int) -> dict[str, dict[str, Any]]:
    """Others, all at the scenario's own step size."""
    gossip, body = {"topology": EVERYBODY}, {"task.options.local": "0.*"}
    return {
        "**shared only**: D-PSGD": {"algorithm": {"name": "d_psgd"}},
        "**alone**": {"topology": apart(NODES)},
        "shared, 10 steps of fine-tuning": {"evaluate.fine_tune": 10},
        "own body (first layer stays local)": body,
        "`apfl`, α = 0.25": {"algorithm": {"name": "apfl", "share": 0.25}},
        "`apfl`, α = 0.5": {"algorithm": {"name": "apfl"}},
        "`apfl`, α = 0.75": {"algorithm": {"name": "apfl", "share": 0.75}},
        "`apfl`, α learned": {"algorithm": {"name": "apfl", "adapts": True}},
        "`similarity_weights` by loss, τ = 5": {"algorithm": similarity(5.0, "loss")},
        "`similarity_weights` by loss, τ = 20": {"algorithm": similarity(20.0, "loss")},
        "`ifca`, as many models as clusters": {"algorithm": {"name": "ifca", "models": clusters}},
        "`ifca`, twice as many": {"algorithm": {"name": "ifca", "models": 2 * clusters}},
        "shared only by gossip: `gossip_learning`": {**gossip, "algorithm": {"name": "gossip_learning"}},
        "`apfl_gossip`, α = 0.5": {**gossip, "algorithm": {"name": "apfl_gossip"}},
        "`apfl_gossip`, α learned": {**gossip, "algorithm": {"name": "apfl_gossip", "adapts": True}},
    }


def row(scenario: str, label: str, records: Path, *, jobs: int, tuned: bool = True) -> str:
    """One row of a table: the mean over nodes and seeds, and what it cost.

    Step sizes are tuned with as many trials for each variant, on held-out training samples.
    """
    given = (variants if tuned else more_variants)(CLUSTERS[scenario])
    sweep = {
        "name": scenario,
        "scenario": scenario,
        "seeds": SEEDS if tuned else FEWER_SEEDS,
        "variant": [{"label": label, **given[label]}],
        **({"tune": {"around": 0.4, "ratio": 2.0, "values": 5}} if tuned else {}),
    }
    out = records / scenario / ("tuned" if tuned else "plain") / str([*given].index(label))
    runs = sims.sweep(sweep, out=out, jobs=jobs, resume=out.exists()).runs
    mean, low, high = mean_interval(runs["accuracy_mean"].to_list(), confidence=0.95)
    worst = float(runs["accuracy_min"].to_numpy().mean())
    sent = float((runs["bytes"] / runs["round"]).to_numpy().mean()) / NODES / 1000
    step = f" {float(runs['training.learning_rate'][0]):.3g} |" if tuned else ""
    return f"| {label} |{step} {mean:.3f} | {low:.3f} – {high:.3f} | {worst:.3f} | {sent:.1f} |"


def table(scenario: str, records: Path, *, tuned: bool) -> str:
    """One table."""
    columns = ["what each node uses", *(["step size"] if tuned else []), "accuracy", "95 % interval"]
    columns += ["worst node", "kB sent by a node in a round"]
    labels = (variants if tuned else more_variants)(CLUSTERS[scenario])
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join(lines + [row(scenario, label, records, jobs=2, tuned=tuned) for label in labels])


def main() -> None:
    """Write the tables into the page."""
    page = DOCS / "personal.md"
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        records = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(directory)
        for scenario in CLUSTERS:
            text = placed(text, scenario, table(scenario, records, tuned=True), by=BY)
            text = placed(text, f"more on {scenario}", table(scenario, records, tuned=False), by=BY)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
