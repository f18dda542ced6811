"""Hostile peers of one process as accomplices: what they know together, and the rows that they aim at others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
import trio

from gossipfl.algorithms import NeighbourRows
from gossipfl.attacks import Aimed, Everyone, KnownLinks, Receivers
from gossipfl.network import Identity
from gossipfl.rounds import Outgoing, Position, RoundsPlan
from gossipfl.rounds.member_rows import neighbourhood_of
from gossipfl.rounds.weights import weights_without
from gossipfl.wire import PeerDescriptor
from gossipfl.wire.announcements import announce


class Accomplices:
    """What hostile peers of one process know together.

    Parameters
    ----------
    count : int
        How many there are.
    """

    def __init__(self, count: int) -> None:
        self.count, self.peers = count, []
        self._known: dict[Position, dict[int, torch.Tensor]] = {}
        self._shared: dict[Position, int] = {}
        self._changed = trio.Event()

    def are(self, peer_id: str) -> bool:
        """Whether a peer is one of them."""
        return any(each.peer_id == peer_id for each in self.peers)

    async def pooled(
        self, position: Position, rows: Mapping[int, torch.Tensor], *, seconds: float
    ) -> Mapping[int, torch.Tensor]:
        """Share what one of them received in an exchange, and wait for what the others did."""
        self._known.setdefault(position, {}).update(rows)
        self._shared[position] = self._shared.get(position, 0) + 1
        self._changed.set()
        self._changed = trio.Event()
        with trio.move_on_after(seconds):
            while self._shared[position] < self.count:
                await self._changed.wait()
        for old in [each for each in self._known if each[0] < position[0] - 4]:
            del self._known[old]
        return self._known[position]


def aimed_row(
    attack: Aimed,
    receiver: int,
    known: Mapping[int, torch.Tensor],
    *,
    position: Position,
    out: Outgoing,
    plan: RoundsPlan,
    accomplices: Collection[int],
) -> torch.Tensor:
    """The row ``[K]`` that a hostile member sends to one receiver.

    As in a simulation, as far as the rows of the receiver's neighbours are known; the truth if its own is not.

    Parameters
    ----------
    known : mapping of int to Tensor
        Rows of this exchange by number of the member, ``[K]`` each; those of accomplices as if they were honest.
    position, out, plan
        Of the hostile member.
    accomplices : collection of int
        Their numbers.
    """
    if receiver not in known:
        return out.sent[0]
    neighbours = plan.mixing.neighbours(position[0], out.form, receiver)
    rows = {each: known[each] for each in neighbours if each in known}
    missing = [each for each in neighbours if each not in known]
    weights = weights_without(plan.mixing.row(position, out.form, receiver), own=receiver, missing=missing)
    around = neighbourhood_of(weights, known[receiver][None], neighbours, rows, number=receiver)
    hostile = torch.zeros(len(plan.roster), dtype=torch.bool)
    hostile[[plan.number, *accomplices]] = True
    everyone = out.sent.new_zeros(len(hostile), out.sent.shape[1])
    for number, row in known.items():
        everyone[number] = row
    numbers = torch.tensor([list(neighbours)])

    def outcome(rows: torch.Tensor) -> torch.Tensor:
        told = replace(around, rows=rows)
        if isinstance(out.exchange, NeighbourRows):
            return out.exchange.combined(told)
        return torch.einsum("bk,bkd->bd", told.weights, rows) + told.own_weights[:, None] * told.own

    receivers = Receivers(
        around=around,
        numbers=torch.tensor([receiver]),
        neighbours=numbers,
        hostile=hostile[numbers] & around.present,
        everyone=Everyone(
            rows=everyone,
            hostile=hostile,
            links=KnownLinks(lambda: plan.mixing.sequence.matrix(position[0]), hostile.numpy()),
        ),
        turn=position[0],
        outcome=outcome,
    )
    sent = attack.send_to(receivers).to(around.rows.dtype).expand_as(around.rows)
    return sent[0, neighbours.index(plan.number)]


def invention(index: int) -> PeerDescriptor:
    """The announcement of a member that does not exist."""
    nobody = Identity.generate()
    return announce(nobody.peer_id, (f"/ip4/127.0.0.1/tcp/{9 + index}",), sequence=1, sign=nobody.sign)
