"""Gossip learning with rows in full and in few bits: accuracy, loss and distance after equally many updates.

python -m benchmarks.few_bits
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import t

import sims

FORMS = {
    "in full": "{rows='full'}",
    "16 bits, at random": "{rows='int16'}",
    "16 bits, to nearest": "{rows='int16',rounding='nearest'}",
    "8 bits, at random": "{rows='int8'}",
    "8 bits, to nearest": "{rows='int8',rounding='nearest'}",
}
COLUMNS = ("accuracy_mean", "accuracy_min", "loss_mean", "consensus_distance")


def measured(engine: str, *, seed: int, rounds: int, rate: float) -> list[float]:
    """Last measurements of a run."""
    overrides = [
        *(f"seed={seed}", f"engine={engine}", f"stop.rounds={rounds}", f"evaluate.every={rounds}"),
        *(f"training.learning_rate={rate}", "output.rows=false"),
    ]
    last = sims.run("digits", overrides=overrides, compile_when="never").evaluations[-1]
    return [last[name].item() for name in COLUMNS]


def interval(values: list[float]) -> str:
    """Mean and half of its 95 % interval."""
    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{np.mean(values):.3f} ± {half:.3f}"


def main() -> None:
    """Print a line for each form and step size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.003])
    given = parser.parse_args()
    print("| step size | rows | " + " | ".join(COLUMNS) + " |")
    for rate in given.rates:
        for name, engine in FORMS.items():
            found = [
                measured(engine, seed=seed, rounds=given.rounds, rate=rate) for seed in range(given.seeds)
            ]
            cells = [interval([each[k] for each in found]) for k in range(len(COLUMNS))]
            print(f"| {rate:g} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
