"""Attack on masked sums: one neighbour is left out of the next round's sum, and the sums are subtracted.

Nodes learn digits in rounds, each with four neighbours and samples of about two labels. In every round after the
fifth, a receiver subtracts from the sum of its neighbours' rows that of the next round without one of them:
`python -m benchmarks.sum_differences`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import sims
from gossipfl.algorithms import Neighbourhood, NeighbourRows, Round, RoundAlgorithm, RoundContext
from gossipfl.training import Nodes

NODES, DEGREE, ROUNDS, FROM = 12, 4, 40, 5
SEEN: dict[int, list[Tensor]] = {}


@dataclass(frozen=True)
class Watched(RoundAlgorithm):
    """D-PSGD whose neighbours' rows are kept."""

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        trained = context.local.update(nodes)
        mixed = yield NeighbourRows(trained.rows[:, : context.shared_size], rule=average)
        return trained.with_shared(mixed.rows, ages=trained.ages)


def average(around: Neighbourhood) -> Tensor:
    """Average, and keep the rows."""
    for node, rows in zip(around.nodes.tolist(), around.rows, strict=True):
        SEEN.setdefault(node, []).append(rows.clone())
    return around.own * around.own_weights[:, None] + (around.weights[..., None] * around.rows).sum(dim=1)


def main() -> None:
    """Simulate, subtract, and print how near the difference is to the row left out."""
    from benchmarks import sum_differences  # as the scenario imports it, beside __main__

    sims.run(
        {
            "seed": 1,
            "population": {"nodes": NODES},
            "task": {"name": "digits", "partition": "shards:2"},
            "topology": {"name": "random_regular", "degree": DEGREE},
            "algorithm": {"name": "benchmarks.sum_differences:Watched"},
            "training": {"learning_rate": 0.1, "batch_size": 8},
            "stop": {"rounds": ROUNDS},
            "evaluate": {"every": ROUNDS},
        }
    )
    errors, recognised = [], []
    for rounds in sum_differences.SEEN.values():
        for now, then in zip(rounds[FROM:], rounds[FROM + 1 :], strict=False):
            for left_out in range(DEGREE):
                others = [place for place in range(DEGREE) if place != left_out]
                guess = now.sum(dim=0) - then[others].sum(dim=0)
                errors.append(float((guess - now[left_out]).norm() / now[left_out].norm()))
                alike = torch.cosine_similarity(guess - now.mean(dim=0), now - now.mean(dim=0))
                recognised.append(float(alike.argmax() == left_out))
    print(
        f"{len(errors)} differences: wrong by {sum(errors) / len(errors):.3f} of the row's length; "
        f"nearest to it in {sum(recognised) / len(recognised):.3f} of all cases"
    )


if __name__ == "__main__":
    main()
