"""The map of outer momentum in docs/slow-links.md, computed and measured: ``python docs/make_outer_table.py``.

Measured are rounds of the algorithm itself without training, of many networks side by side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from make_algorithm_tables import placed

from gossipfl.algorithms import AnyExchange, Mixed, RoundContext, make_algorithm, run_round
from gossipfl.training import Nodes
from topology.sequences import random_matching
from topology.spectrum import outer_consensus_factor, outer_moments

PAGE = Path(__file__).parent / "slow-links.md"
SIZES = (2, 4, 8, 16, 64)
STEPS = ((1.0, 0.0), (0.7, 0.0), (0.7, 0.3), (0.7, 0.5), (0.27, 0.5), (0.35, 0.9), (0.7, 0.9))
NODES, ROUNDS = 160_000, 6


class Resting:
    """Training that leaves nodes as they are."""

    def update(self, nodes: Nodes) -> Nodes:
        """Nothing happens."""
        return nodes


def measured(n: int, rate: float, momentum: float) -> float:
    """Mean square of disagreement after some rounds over that at first, in many networks of n nodes."""
    generator = torch.Generator().manual_seed(n)
    count = NODES // n
    algorithm = make_algorithm("noloco", {"momentum": momentum, "outer_rate": rate})
    rows = torch.randn(count, n, generator=generator, dtype=torch.float64)
    rows = (rows - rows.mean(1, keepdim=True)).reshape(-1, 1)
    nodes = algorithm.start(Nodes.start(rows, optimiser_state_size=0), shared_size=1)
    for t in range(ROUNDS):
        order = torch.rand(count, n, generator=generator).argsort(1) + n * torch.arange(count)[:, None]
        pairs = order.reshape(-1, 2)
        partner = torch.arange(count * n)
        partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]

        def halves(sent: AnyExchange, partner: torch.Tensor = partner) -> Mixed:
            return Mixed(rows=(sent.rows + sent.rows[partner]) / 2, sent=sent.rows)

        context = RoundContext(local=Resting(), shared_size=1, round=t, numbers=torch.arange(count * n))
        nodes = run_round(algorithm, nodes, context, halves)
    return float(nodes.rows.square().mean() / rows.square().mean())


def predicted(n: int, rate: float, momentum: float) -> float:
    """The same by the map of second moments."""
    moments = outer_moments(rate, momentum, mean=n / (2 * (n - 1)))
    return float(np.linalg.matrix_power(moments, ROUNDS)[0, 0])


def table() -> str:
    """Factors in the long run, and how far measured rounds are from the map."""
    lines = ["| η, μ | " + " | ".join(f"n = {n}" for n in SIZES) + " |", "|---" * (len(SIZES) + 1) + "|"]
    for rate, momentum in STEPS:
        cells = []
        for n in SIZES:
            factor = outer_consensus_factor(random_matching(n, 0), rate, momentum)
            expected = predicted(n, rate, momentum)
            ratio = f"{measured(n, rate, momentum) / expected:.2f}" if expected > 1e-12 else "—"
            cells.append(f"{factor:.3f} ({ratio})")
        lines.append(f"| {rate:g}, {momentum:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(placed(page, "outer momentum", table(), by="docs/make_outer_table.py"), encoding="utf-8")
