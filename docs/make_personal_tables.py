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
SEEDS = [1, 2, 3, 4, 5]
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
    """What is compared, by its name in the table."""
    head, body = {"task.options.local": "2.*"}, {"task.options.local": "0.*"}
    gossip = {"topology": EVERYBODY}
    return {
        "**shared only**: D-PSGD": {"algorithm": {"name": "d_psgd"}},
        "**alone**": {"topology": apart(NODES)},
        "**oracle**: D-PSGD within each cluster": {"topology": apart(clusters)},
        "shared, 10 steps of fine-tuning": {"evaluate.fine_tune": 10},
        "shared, 50 steps of fine-tuning": {"evaluate.fine_tune": 50},
        "own head (last layer stays local)": head,
        "own body (first layer stays local)": body,
        "own head, 10 steps of fine-tuning": {**head, "evaluate.fine_tune": 10},
        "`apfl`, α = 0.25": {"algorithm": {"name": "apfl", "share": 0.25}},
        "`apfl`, α = 0.5": {"algorithm": {"name": "apfl"}},
        "`apfl`, α = 0.75": {"algorithm": {"name": "apfl", "share": 0.75}},
        "`apfl`, α learned": {"algorithm": {"name": "apfl", "adapts": True}},
        "`pens`, top 1 of 6": {"algorithm": {"name": "pens", "top": 1, "search": 75}},
        "`pens`, top 2 of 6": {"algorithm": {"name": "pens", "top": 2, "search": 75}},
        "`similarity_weights` by loss, τ = 5": {"algorithm": similarity(5.0, "loss")},
        "`similarity_weights` by loss, τ = 20": {"algorithm": similarity(20.0, "loss")},
        "`similarity_weights` by cosine, τ = 5": {"algorithm": similarity(5.0, "cosine")},
        "`similarity_weights` by cosine, τ = 10": {"algorithm": similarity(10.0, "cosine")},
        "`ifca`, as many models as clusters": {"algorithm": {"name": "ifca", "models": clusters}},
        "`ifca`, twice as many": {"algorithm": {"name": "ifca", "models": 2 * clusters}},
        "shared only by gossip: `gossip_learning`": {**gossip, "algorithm": {"name": "gossip_learning"}},
        "`apfl_gossip`, α = 0.5": {**gossip, "algorithm": {"name": "apfl_gossip"}},
        "`apfl_gossip`, α learned": {**gossip, "algorithm": {"name": "apfl_gossip", "adapts": True}},
    }


def measured(scenario: str, label: str, records: Path, *, jobs: int) -> sims.SweepResult:
    """Runs of one variant, at a step size of its own: as many trials for each, on held-out training samples."""
    given = variants(CLUSTERS[scenario])
    sweep = {
        "name": scenario,
        "scenario": scenario,
        "seeds": SEEDS,
        "variant": [{"label": label, **given[label]}],
        "tune": {"around": 0.4, "ratio": 2.0, "values": 5},
    }
    out = records / scenario / str([*given].index(label))
    return sims.sweep(sweep, out=out, jobs=jobs, resume=out.exists())


def row(scenario: str, label: str, records: Path, *, jobs: int) -> str:
    """One row of a table: the mean over nodes and seeds, and what it cost."""
    result = measured(scenario, label, records, jobs=jobs)
    mean, low, high = mean_interval(result.runs["accuracy_mean"].to_list(), confidence=0.95)
    worst = float(result.runs["accuracy_min"].to_numpy().mean())
    sent = float((result.runs["bytes"] / result.runs["round"]).to_numpy().mean()) / NODES / 1000
    step = float(result.runs["training.learning_rate"][0])
    return f"| {label} | {step:.3g} | {mean:.3f} | {low:.3f} – {high:.3f} | {worst:.3f} | {sent:.1f} |"


def table(scenario: str, records: Path) -> str:
    """One table."""
    lines = [
        "| what each node uses | step size | accuracy | 95 % interval | worst node | kB sent in a round |",
        "|---|---|---|---|---|---|",
    ]
    lines += [row(scenario, label, records, jobs=2) for label in variants(CLUSTERS[scenario])]
    return "\n".join(lines)


def main() -> None:
    """Write the tables into the page."""
    page = DOCS / "personal.md"
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as directory:
        records = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(directory)
        for scenario in CLUSTERS:
            text = placed(text, scenario, table(scenario, records), by=BY)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
