"""Federated averaging: some nodes train a server's model, and the server averages the results.

McMahan, Moore, Ramage, Hampson & Agüera y Arcas, "Communication-efficient learning of deep networks from
decentralized data", AISTATS 2017, Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from gossipfl.algorithms.base import Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.local_epochs import EPOCHS, train_epochs
from gossipfl.algorithms.rounds.server import (
    WEIGHTING,
    Weighting,
    of_one_model,
    server_mean,
    to_server,
    weights_of,
)
from gossipfl.codecs.draws import exchange_keys
from gossipfl.training.nodes import Nodes

__all__ = ["FedAvg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAvg(RoundAlgorithm):
    """FedAvg, a baseline with a server.

    Each round max(C n, 1) nodes drawn at random take the server's model x, train it on their own samples, and send
    y_k back: ``x ← Σ_k p_k y_k / Σ_k p_k`` over those drawn, p_k being k's number of samples in the paper. All
    nodes report x. Momentum starts at rest, as the server's model comes without.
    """

    name = "fedavg"
    paper = "McMahan et al., AISTATS 2017"
    rule = "a random fraction of the nodes trains the server’s model locally, and the server averages the results"
    sends = "P + 1 down and up for each node drawn"

    fraction: Annotated[float, Parameter("C: share of the nodes that train in a round", gt=0, le=1)] = 1.0
    epochs: Annotated[int, Parameter(EPOCHS, ge=0)] = 1
    weighting: Annotated[Weighting, Parameter(WEIGHTING)] = "samples"

    @property
    def requirements(self) -> Requirements:
        """A server."""
        return Requirements(server=True, exact=True, epochs=self.epochs > 0, own_weights=True)

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Everyone has the first node's model."""
        return of_one_model(nodes, shared_size=shared_size)

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        drawn = context.participants
        if drawn is None:
            drawn = self.participants(context.numbers, seed=context.seed, number=context.round)
        trained = train_epochs(nodes, context.local, epochs=self.epochs, among=drawn)
        sent = trained.rows[:, : context.shared_size]
        weights = weights_of(context.local, self.weighting, like=sent)
        answer = yield to_server(sent, weights, senders=drawn, ages=trained.ages)
        oldest = trained.ages.max() if answer.oldest is None else answer.oldest
        return trained.with_shared(server_mean(answer), ages=oldest.expand(len(nodes)))

    def participants(self, numbers: Tensor, *, seed: int, number: int) -> Tensor:
        """The nodes that take part in a round, bool ``[n]``; every set of that size is equally likely."""
        count = max(round(self.fraction * len(numbers)), 1)
        lots = exchange_keys(numbers, seed=seed, round_number=number)
        drawn = torch.zeros_like(numbers, dtype=torch.bool)
        drawn[lots.argsort()[:count]] = True
        return drawn
