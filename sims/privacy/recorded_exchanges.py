"""Exchanges of recorded peers in rounds, on coefficients: what was sent, merged and seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gossipfl.algorithms import AnyExchange, Exchange, LinkExchange, NeighbourRows, RoundInProgress
from gossipfl.codecs import FLOAT32
from gossipfl.outgoing import IN_FULL
from gossipfl.rounds import Outgoing, Position, RoundsPlan, mixed, read_roster
from gossipfl.rounds.message_shapes import ExchangeForm
from gossipfl.rounds.mixing import mixing_of
from gossipfl.rounds.plan import round_algorithm
from gossipfl.secure import FixedPoint
from sims.privacy.errors import NotAccountable
from sims.replay.errors import TornRecords
from sims.replay.lives import Life, RecordedPeer, Version
from sims.replay.round_records import Key, Mix, RoundLife, read_round_life

__all__ = ["RecordedExchanges", "Seen"]

Over = Literal["neighbours", "clique", "links"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A row that a peer received; both are numbers of peers, the row is ``[W]``."""

    receiver: int
    sender: int
    row: Tensor


@dataclass(frozen=True, slots=True)
class _Sent:
    """The rows of one start in an exchange, and their recipients by their numbers in the roster."""

    out: Outgoing
    recipients: tuple[int, ...]

    def row(self, recipient: int) -> Tensor:
        rows, by_link = self.out.sent, isinstance(self.out.exchange, LinkExchange)
        return rows[self.recipients.index(recipient)] if by_link else rows[0]


class RecordedExchanges:
    """Exchanges of all starts of all peers.

    Parameters
    ----------
    peers : sequence of RecordedPeer
    rounding : collection of str
        Codecs that hide nothing.

    Attributes
    ----------
    lives : dict of Key to RoundLife
    plans : dict of Key to RoundsPlan
    places : dict of str to int
        The number of each peer, in the order given.

    Raises
    ------
    NotAccountable
        If rows were changed before they left.
    """

    def __init__(self, peers: Sequence[RecordedPeer], rounding: Collection[str]) -> None:
        self.lives: dict[Key, RoundLife] = {
            (life.peer, life.incarnation): read_round_life(peer, life)
            for peer in peers
            for life in peer.lives.values()
        }
        for each in self.lives.values():
            _require_sent_whole(each.life, rounding)
        self.plans = {key: _plan(each.life) for key, each in self.lives.items()}
        self.places = {peer.peer: place for place, peer in enumerate(peers)}

    def carry_out(self, number: int, running: Mapping[Key, RoundInProgress], *, width: int) -> list[Seen]:
        """Carry all exchanges of a round out; starts that were killed in it stop where they were.

        Parameters
        ----------
        number : int
            Of the round.
        running : mapping of Key to RoundInProgress
            Before their first exchanges.
        width : int
            Of the rows. What algorithms send beyond it are weights, the same whatever the values.
        """
        seen: list[Seen] = []
        going, exchange = dict(running), 0
        while going := {key: each for key, each in going.items() if each.exchange is not None}:
            position = (number, exchange)
            sent = {
                key: self._sent(key, position, each.exchange, width=width)
                for key, each in going.items()
                if each.exchange is not None
            }
            mixes = {key: mix for key in going if (mix := self.lives[key].mixes.get(position)) is not None}
            going = {key: going[key] for key in mixes}
            for key, mix in mixes.items():
                rows = self._received(key, position, mix, sent)
                seen += self._seen_in_merging(key, position, mix, rows, sent, width=width)
                seen += self._seen_beside(key, mixes, sent[key], width=width)
                plan, out = self.plans[key], sent[key].out
                if out.form.over == "links":  # zeros in float64 for those that are missing
                    nothing = out.exchange.rows.new_zeros(out.form.size)
                    rows = {each: rows.get(each, nothing) for each in out.neighbours}
                going[key].answer(
                    mixed(plan, position, out, rows, untaken=mix.untaken, listening=mix.listening)
                )
            exchange += 1
        return seen

    def _sent(self, key: Key, position: Position, exchange: AnyExchange, *, width: int) -> _Sent:
        plan, rows = self.plans[key], exchange.rows
        _require_linear(plan.name, exchange, width=width)
        by_link = isinstance(exchange, LinkExchange)
        in_clique = isinstance(exchange, Exchange) and exchange.over == "clique"
        over: Over = "links" if by_link else "clique" if in_clique else "neighbours"
        form = ExchangeForm(rows.shape[1], None, over)
        out = Outgoing(
            exchange=exchange,
            form=form,
            codec=FLOAT32,
            payloads={},
            sent=rows,
            columns=None,
            finite=True,
            neighbours=plan.mixing.neighbours(position[0], form, plan.number),
        )
        return _Sent(out, plan.mixing.recipients(position[0], form, plan.number))

    def _received(
        self, key: Key, position: Position, mix: Mix, sent: Mapping[Key, _Sent]
    ) -> dict[int, Tensor]:
        plan = self.plans[key]
        rows = {}
        for member, incarnation in mix.incarnations.items():
            source = sent.get((plan.roster.members[member], incarnation))
            if source is None or plan.number not in source.recipients:
                raise TornRecords(
                    f"{Version(*key, position[0])} mixed a row of member {member} in exchange {position[1]} "
                    "that its records do not lead to",
                    remedy="Homes of different runs were mixed, or records were edited.",
                )
            rows[member] = source.row(plan.number)
        return rows

    def _seen_in_merging(
        self,
        key: Key,
        position: Position,
        mix: Mix,
        rows: Mapping[int, Tensor],
        sent: Mapping[Key, _Sent],
        *,
        width: int,
    ) -> list[Seen]:
        """Rows that were merged; of masked ones their sum, once for each summand so that distances are known."""
        plan, receiver = self.plans[key], self.places[key[0]]
        peers = {member: self.places[plan.roster.members[member]] for member in rows}
        if plan.ring is None or not rows:
            return [Seen(receiver, peers[member], row[:width]) for member, row in rows.items()]
        weights = plan.mixing.row(position, sent[key].out.form, plan.number)
        total = torch.stack([weights[member] * row[:width] for member, row in rows.items()]).sum(dim=0)
        return [Seen(receiver, peers[member], total) for member in rows]

    def _seen_beside(self, key: Key, mixes: Mapping[Key, Mix], own: _Sent, *, width: int) -> list[Seen]:
        """Rows of a start that were sent and not merged: they may have arrived, too late or before a crash."""
        plan, mix = self.plans[key], mixes[key]
        if plan.ring is not None or mix.listening:
            return []  # masked rows show nothing without the sum
        seen = []
        for recipient in own.recipients:
            peer = plan.roster.members[recipient]
            merged = any(
                other[0] == peer and each.incarnations.get(plan.number) == key[1]
                for other, each in mixes.items()
            )
            if peer in self.places and recipient not in mix.unsent and not merged:
                seen.append(Seen(self.places[peer], self.places[key[0]], own.row(recipient)[:width]))
        return seen


def _plan(life: Life) -> RoundsPlan:
    """The plan that a start had, but for what depends on its task."""
    settings, rounds = life.settings, life.settings.rounds
    assert rounds.algorithm is not None  # noqa: S101 - the caller's reason to call
    roster = read_roster(rounds, directory=Path())
    algorithm = round_algorithm(settings)
    mixing = mixing_of(rounds.algorithm, algorithm, rounds.topology, settings, members=len(roster))
    return RoundsPlan(
        name=rounds.algorithm,
        algorithm=algorithm,
        mixing=mixing,
        roster=roster,
        number=roster.number_of(life.peer),
        seed=rounds.seed,
        outgoing=IN_FULL,
        forms=(),
        agreement=b"",
        ring=FixedPoint(largest=rounds.sums_range) if rounds.masked_sums else None,
    )


def _require_sent_whole(life: Life, rounding: Collection[str]) -> None:
    settings, where = life.settings, f"start {life.incarnation} of peer {life.peer}"
    if settings.outgoing or settings.codec not in rounding:
        raise NotAccountable(
            f"rows of {where} were changed before they left, and not linearly",
            expected="rows sent in full or rounded",
            got="tables [[outgoing]]" if settings.outgoing else settings.codec,
        )


def _require_linear(name: str, exchange: AnyExchange, *, width: int) -> None:
    if exchange.compressor is not None:
        what, remedy = (
            f"{name!r} compresses its rows, which is not linear",
            "Choose an algorithm that does not.",
        )
    elif exchange.rows.shape[1] < width:
        what, remedy = f"{name!r} sends parts of its rows alone", "Choose an algorithm that sends whole rows."
    elif isinstance(exchange, NeighbourRows):
        what = f"{name!r} combines its neighbours' rows by a rule that is not linear in them"
        remedy = "Choose an algorithm that averages."
    else:
        return
    raise NotAccountable(what, remedy=remedy)
