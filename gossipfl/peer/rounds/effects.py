"""Measurement of what each neighbour's row did to a peer's model in rounds, on a few of its own test samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gossipfl.algorithms import Mixed
from gossipfl.peer.gossip.effects import MergeEffects
from gossipfl.peer.rounds.exchanging import Exchanged
from gossipfl.rounds.member_rows import Outgoing, mixed
from gossipfl.rounds.plan import Position, RoundsPlan
from gossipfl.training import Nodes
from gossipfl.training.nodes import before_rest

__all__ = ["RoundEffects"]


@dataclass(frozen=True, kw_only=True)
class RoundEffects:
    """Effects of exchanges whose rows are models.

    All neighbours' rows are mixed at once, so the effect of one is what is missed without it: the loss of the
    mixture in which its weight goes to the peer itself, less that of the whole mixture.

    Parameters
    ----------
    plan : RoundsPlan
    merges : MergeEffects
    models : tuple of bool
        Which exchanges of a round carry models (`gossipfl.rounds.message_shapes.models_in`).
    """

    plan: RoundsPlan
    merges: MergeEffects
    models: tuple[bool, ...]

    def measured(
        self, position: Position, nodes: Nodes, out: Outgoing, result: Exchanged, answer: Mixed
    ) -> dict[str, Any]:
        """Measure one exchange; return what its record says of it.

        Parameters
        ----------
        nodes : Nodes
            Before the round: parameters that stay local are taken from there.
        answer : Mixed
            Of all rows that arrived.
        """
        if not (result.received and out.finite and self.models[position[1]]):
            return {}
        whole = nodes.rows.shape[1]
        size = min(out.exchange.rows.shape[1], whole)

        def model(shared: Tensor) -> Tensor:
            return before_rest(shared[:, :size], nodes.rows)

        after = model(answer.rows)
        effect = self.merges.effect(model(out.exchange.rows), after)
        if self.plan.ring is not None:  # only the sum is known
            return {"effect": effect}
        rows = {number: received.row for number, received in result.received.items()}
        effects = []
        for number in sorted(rows):
            others = {other: row for other, row in rows.items() if other != number}
            without = mixed(self.plan, position, out, others, untaken=result.untaken)
            effects.append(self.merges.effect(model(without.rows), after))
            self.merges.note(self.plan.roster.members[number], effects[-1])
        told = [each if math.isfinite(each) else None for each in effects]
        return {"effect": effect, "effects": told}

    def described(self, peer_id: str) -> Mapping[str, Any] | None:
        """Return the mean effect of a member's rows as plain values; None if none was measured."""
        return self.merges.described(peer_id)
