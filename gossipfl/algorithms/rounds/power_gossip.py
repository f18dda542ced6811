"""PowerGossip: low-rank differences, found by power iteration over each link.

Vogels, Karimireddy & Jaggi, "Practical low-communication compression in decentralized deep learning",
NeurIPS 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch

from gossipfl.algorithms.base import LinkExchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.power_iteration import BothEnds, Matrices, orthonormal
from gossipfl.layout import Layout
from gossipfl.training.nodes import Nodes

__all__ = ["PowerGossip"]

_LEFT, _RIGHT = "left factors", "right factors"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerGossip(RoundAlgorithm):
    """Train, then move towards each neighbour along the main directions of the difference to it.

    Every parameter tensor is a matrix: its first dimension by all others. On the link of i and j, with
    ``D = X_j − X_i``, an iteration takes an orthonormal basis P̂ (m × r), of which both ends have the same; either
    end sends X^T P̂, so that both know ``Q = D^T P̂``; and ``X_i ← X_i + w_ij P̂ Q^T``, the projection of the
    difference. Q orthonormalised is the basis of the next iteration, in which the sides are exchanged: subspace
    iteration across rounds, with a warm start. Vectors such as biases are sent in full, once a round.

    No step size and no copies of others: what an iteration does not transmit stays a difference. The mean of all
    models is preserved. With square matrices and full rank it is D-PSGD (adapt-then-combine).

    Parameters
    ----------
    shapes : tuple of shapes, optional
        Of the shared parameters, in the order of the row; unless given, the row is one matrix, as square as it can
        be. `fitted` takes them from a layout.
    """

    name = "power_gossip"
    paper = "Vogels et al., NeurIPS 2020"
    rule = "over each link a low-rank approximation of the difference, by power iteration with a warm start"
    sends = "for each m × n parameter rank · (m or n) an iteration, vectors once"

    shapes: Annotated[tuple[tuple[int, ...], ...] | None, Parameter(setting=False)] = None
    rank: Annotated[
        int, Parameter("r: rank of each matrix's approximation, at most its smaller side", ge=1)
    ] = 1
    iterations: Annotated[
        int, Parameter("power iterations, and thus messages over each link, per round", ge=1)
    ] = 2

    def fitted(self, layout: Layout) -> PowerGossip:
        """The algorithm for the matrices of a model."""
        return replace(self, shapes=tuple(entry.shape for entry in layout.entries if entry.group == "shared"))

    @property
    def requirements(self) -> Requirements:
        """Links that stay, with symmetric weights."""
        return Requirements(
            symmetric=True,
            static=True,
            links=True,
            every_message="both ends of a link keep the same factors, and then would not",
        )

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """No direction is known yet: bases are zero, which the first iteration replaces with random ones."""
        matrices, ends = self._matrices(shared_size), 0 if links is None else len(links.owner)
        factors = {
            _LEFT: nodes.rows.new_zeros(ends, matrices.left_size),
            _RIGHT: nodes.rows.new_zeros(ends, matrices.right_size),
        }
        return replace(nodes, auxiliary={**nodes.auxiliary, **factors})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        links, matrices = context.links, self._matrices(context.shared_size)
        assert links is not None  # noqa: S101  (required)
        ends = BothEnds.of(links, context)
        nodes = context.local.update(nodes)
        factors = {name: nodes.auxiliary[name] for name in (_LEFT, _RIGHT)}
        shared = nodes.rows[:, : context.shared_size]
        for iteration in range(self.iterations):
            known, sought = (_LEFT, _RIGHT)
            if (context.round * self.iterations + iteration) % 2:
                known, sought = (_RIGHT, _LEFT)
            basis = orthonormal(
                matrices.columns(factors[known], left=known == _LEFT),
                keys=ends.keys(context, iteration),
            )
            own = shared.index_select(0, links.owner)
            projected = matrices.projected(own, basis, onto_left=known == _LEFT)
            vectors = matrices.vectors(own) if iteration == 0 else own[:, :0]
            mixed = yield LinkExchange(torch.cat([projected, vectors], dim=1))
            difference = ends.difference(mixed.sent, mixed.rows)
            found, rest = difference[:, : projected.shape[1]], difference[:, projected.shape[1] :]
            moves = matrices.product(basis, found, rest, left=known == _LEFT)
            factors = {known: matrices.joined(basis, like=factors[known]), sought: found}
            shared = shared + ends.summed(moves, len(nodes))
        after = nodes.with_shared(shared, ages=nodes.ages)
        return replace(after, auxiliary={**nodes.auxiliary, **factors})

    def _matrices(self, shared_size: int) -> Matrices:
        return Matrices.of(self.shapes or _near_square(shared_size), rank=self.rank, size=shared_size)


def _near_square(size: int) -> Sequence[tuple[int, ...]]:
    """Shapes of a matrix, as square as it can be, and of the rest, a vector."""
    height = math.isqrt(size)
    width = size // height if height else 0
    rest = size - height * width
    return ((height, width), (rest,)) if rest else ((height, width),)
