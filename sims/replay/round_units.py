"""Units of a replayed round: one peer alone, or many as one batch of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gossipfl.algorithms import AnyExchange, LinkExchange, Links, Mixed, RoundContext, RoundInProgress
from gossipfl.rounds import TrainerOfRounds
from gossipfl.training import Nodes, Trainer
from sims.replay.round_starts import Running

__all__ = ["Unit"]


class Unit:
    """Starts of peers that do one round as one batch of rows.

    Parameters
    ----------
    members : sequence of Running
        With the same algorithm and settings of training.
    number : int
        Of the round.
    trainer : Trainer
        Over the samples of all starts, or of the only one.
    owners : sequence of int
        Whose samples each member trains on.
    rests : bool
        Whether they train nothing in this round.
    """

    def __init__(
        self,
        members: Sequence[Running],
        number: int,
        *,
        trainer: Trainer,
        owners: Sequence[int],
        rests: bool,
    ) -> None:
        self.members = members
        self.local = TrainerOfRounds(trainer, np.array(owners, dtype=np.int64), rests=rests)
        self._links = [running.plan.links(number) for running in members]
        self._sizes = {
            name: [running.nodes.auxiliary[name].shape[0] for running in members]
            for name in members[0].nodes.auxiliary
        }
        first = members[0]
        context = RoundContext(
            local=self.local,
            shared_size=first.learning.task.layout.shared_size,
            round=number,
            numbers=torch.tensor([running.plan.number for running in members]),
            seed=first.plan.seed,
            links=_joined_links(self._links),
        )
        self._progress = RoundInProgress(
            first.plan.algorithm, _stacked([each.nodes for each in members]), context
        )

    @property
    def is_over(self) -> bool:
        """Whether the round is done."""
        return self._progress.exchange is None

    def exchanges(self) -> list[AnyExchange]:
        """The exchange of each of the members."""
        now = self._progress.exchange
        assert now is not None  # noqa: S101  (or the round is over)
        sizes = [1] * len(self.members)
        if isinstance(now, LinkExchange):
            sizes = [0 if links is None else len(links.owner) for links in self._links]
        return [replace(now, rows=part) for part in _parts(now.rows, sizes)]

    def answer(self, answers: Sequence[Mixed]) -> None:
        """Continue with the answers to each of the members."""
        self._progress.answer(
            Mixed(
                rows=torch.cat([each.rows for each in answers]),
                sent=torch.cat([each.sent for each in answers]),
            )
        )

    def outcomes(self) -> list[Nodes]:
        """Nodes of each of the members after the round."""
        after = self._progress.nodes
        parts: Mapping[str, tuple[Tensor, ...]] = {
            name: _parts(tensor, self._sizes.get(name, [1] * len(self.members)))
            for name, tensor in after.auxiliary.items()
        }
        return [
            replace(after.select(slice(i, i + 1)), auxiliary={name: part[i] for name, part in parts.items()})
            for i in range(len(self.members))
        ]


def _parts(tensor: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Cut a tensor along its first dimension."""
    ends = np.cumsum(sizes)
    return tuple(tensor[end - size : end] for end, size in zip(ends, sizes, strict=True))


def _stacked(nodes: Sequence[Nodes]) -> Nodes:
    if len(nodes) == 1:
        return nodes[0]
    return Nodes(
        rows=torch.cat([each.rows for each in nodes]),
        ages=torch.cat([each.ages for each in nodes]),
        steps=torch.cat([each.steps for each in nodes]),
        optimiser_state=torch.cat([each.optimiser_state for each in nodes]),
        auxiliary={name: torch.cat([each.auxiliary[name] for each in nodes]) for name in nodes[0].auxiliary},
    )


def _joined_links(links: Sequence[Links | None]) -> Links | None:
    own = [(place, each) for place, each in enumerate(links) if each is not None]
    if not own:
        return None
    return Links(
        owner=torch.cat([torch.full_like(each.owner, place) for place, each in own]),
        neighbours=torch.cat([each.neighbours for _, each in own]),
        weights=torch.cat([each.weights for _, each in own]),
    )
