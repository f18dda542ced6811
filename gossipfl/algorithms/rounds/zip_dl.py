"""Zip-DL: noise on the copies of a row that go to different neighbours, which sums to zero over them.

Biswas et al., "Low-cost privacy-preserving decentralized learning", 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import LinkExchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.errors import SettingError
from gossipfl.training.nodes import Nodes

__all__ = ["ZipDL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipDL(RoundAlgorithm):
    """D-PSGD in which each neighbour gets a copy with other noise.

    A round trains, ``y_i = x_i − η g_i(x_i)``, and sends ``y_i + z_ij`` to each neighbour j, where z_i is drawn
    from N(0, σ²) given that ``Σ_j w_ji z_ij = 0``. So the sum of all models is that without noise, in every round:

    ``x_i ← w_ii y_i + Σ_j w_ij (y_j + z_ji)``.

    The weight of a copy that does not arrive stays with its receiver, and the noise of its sender's other copies
    in the sum. A node needs two neighbours.
    """

    name = "zip_dl"
    paper = "Biswas et al., 2024"
    rule = "x_i ← w_ii y_i + Σ_j w_ij (y_j + z_ji), where y = x − ηg and Σ_j w_ji z_ij = 0"
    sends = "P + 1, another message over each link"

    deviation: Annotated[
        float,
        Parameter("deviation of the noise on each number of a copy before it is made to sum to zero", ge=0),
    ] = 0.0
    secret: Annotated[
        bool, Parameter("whether peers draw noise from secrets; false: from rounds.seed, to be replayed")
    ] = True

    @property
    def requirements(self) -> Requirements:
        """Symmetric weights, and rows in full."""
        return Requirements(links=True, symmetric=True, exact=True)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        shared, links = context.shared_size, _required(context.links)
        trained = context.local.update(nodes)
        own = trained.rows[:, :shared]
        owner, weights = links.owner, links.weights.to(own.dtype)[:, None]
        copies = own[owner]
        if self.deviation:
            copies = copies + zero_sum_noise(context, links, width=shared, like=own) * self.deviation
        sent = torch.cat([copies, own.new_ones(len(owner), 1)], dim=1)
        answers = yield LinkExchange(sent)
        arrived = answers.rows[:, shared:]  # zeros stand for what is missing
        moved = weights * (answers.rows[:, :shared] - arrived * own[owner])
        mixed = own.index_add(0, owner, moved)
        return trained.with_shared(mixed, ages=trained.ages)


def zero_sum_noise(context: RoundContext, links: Links, *, width: int, like: Tensor) -> Tensor:
    """Standard normals of link ends, given that the weighted sum over each node's is zero: ``[L, width]``.

    Raises
    ------
    SettingError
        If a node has a single neighbour: the noise of its only copy would be zero.
    """
    owner = links.owner.cpu()
    degrees = torch.bincount(owner, minlength=len(context.numbers))
    if bool((degrees == 1).any()):
        raise SettingError(
            "zip_dl hides a row among its copies, and a node has only one neighbour",
            expected="at least two neighbours each",
            remedy="Choose another topology.",
        )
    noise = torch.empty(len(owner), width, dtype=torch.float64)
    places = torch.arange(len(owner)) - torch.cumsum(degrees, 0)[owner] + degrees[owner]
    for place in range(int(degrees.max()) if len(degrees) else 0):
        at = places == place
        noise[at] = context.noise.own(width, purpose=place)[owner[at]]
    weights = links.weights.cpu().to(torch.float64)[:, None]
    sums = torch.zeros(len(degrees), width, dtype=torch.float64).index_add_(0, owner, weights * noise)
    squares = torch.zeros(len(degrees), 1, dtype=torch.float64).index_add_(0, owner, weights.square())
    return (noise - weights * (sums / squares.clamp(min=1e-300))[owner]).to(like)


def _required(links: Links | None) -> Links:
    if links is None:
        raise SettingError("Zip-DL sends another copy over each link", expected="links", got="none")
    return links
