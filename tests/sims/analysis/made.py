"""Runs made by hand, and small simulated ones, that the tests of the analysis share."""

from pathlib import Path

import numpy as np

import sims
from gossipfl.settings import TrainingSettings
from sims.analysis.runs.run import Run
from sims.running.records import Records
from tests.sims.worlds import small


def made(accuracy, *, seed=0, label="a", nodes=4, rows=None, period=1.0, **columns) -> Run:
    """A run whose mean accuracy is as given, an evaluation a round; nodes differ by ± 0.01."""
    records = Records()
    spread = np.linspace(-0.01, 0.01, nodes)
    for index, value in enumerate(accuracy):
        at = {
            "round": float(index),
            "seconds": period * index,
            "messages": 10 * index,
            "bytes": 1000 * index,
            "updates": nodes * index,
            "consensus_distance": columns.get("consensus_distance", [0.0] * len(accuracy))[index],
            "age_mean": float(index),
        }
        records.add(at, {"loss": 1 - (value + spread), "accuracy": value + spread}, np.arange(nodes))
    return Run(
        path=Path(f"/runs/{label}-{seed}"),
        source="simulator",
        name=label,
        seed=seed,
        finished=True,
        configuration={"algorithm.merge": label},
        task="no.such.module:task",  # never made: measured values are those of the records
        task_options=({},),
        training=TrainingSettings(),
        learns=True,
        curves=records.table,
        nodes=records.nodes,
        rows=rows,
        labels=tuple(str(node) for node in range(nodes)),
        scenario=None,
    )


def simulated(directory: Path, *overrides: str, seed: int = 3) -> Path:
    """A run of the small scenario, in its own directory."""
    scenario = small("stop.rounds=8", "evaluate.every=2", "precision=float32", f"seed={seed}", *overrides)
    sims.run(scenario, out=directory, compile_when="never")
    return directory
