"""Exchanges of recorded peers in rounds, on coefficients: what was sent, merged and seen."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gossipfl.algorithms import (
    AnyExchange,
    Exchange,
    LinkExchange,
    NeighbourRows,
    RoundAlgorithm,
    RoundInProgress,
)
from gossipfl.algorithms.round_noise import draws_in_secret, shares_secret_noise
from gossipfl.codecs import FLOAT32
from gossipfl.outgoing import IN_FULL
from gossipfl.rounds import Outgoing, Position, RoundsPlan, mixed, read_roster
from gossipfl.rounds.message_shapes import ExchangeForm
from gossipfl.rounds.mixing import mixing_of
from gossipfl.rounds.plan import round_algorithm
from gossipfl.secure import FixedPoint, threshold_of
from sims.privacy.errors import NotAccountable
from sims.privacy.leaving import changes_in, deviation_of
from sims.privacy.symbolic_noise import Drawn, Draws, Link
from sims.replay.errors import TornRecords
from sims.replay.lives import Life, RecordedPeer, Version
from sims.replay.round_records import Key, Mix, RoundLife, read_round_life

__all__ = ["RecordedExchanges", "Seen"]

Over = Literal["neighbours", "clique", "links"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A row that a peer received; both are numbers of peers, the row is ``[W]``.

    Of a masked sum its receiver sees a summand only together with so many of the ``holders``.
    """

    receiver: int
    sender: int
    row: Tensor
    needed: int = 0
    holders: tuple[int, ...] = ()


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
    deviation : float, optional
        Of noise on rows that leave, instead of all that happened to them.

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

    def __init__(
        self, peers: Sequence[RecordedPeer], rounding: Collection[str], deviation: float | None = None
    ) -> None:
        self._deviation = deviation
        self.lives: dict[Key, RoundLife] = {
            (life.peer, life.incarnation): read_round_life(peer, life)
            for peer in peers
            for life in peer.lives.values()
        }
        for each in self.lives.values() if deviation is None else ():
            _require_sent_whole(each.life, rounding)
        self.plans = {key: _plan(each.life) for key, each in self.lives.items()}
        for key, each in self.lives.items():
            _require_links(each, self.plans[key].algorithm)
        self.places = {peer.peer: place for place, peer in enumerate(peers)}

    def link(self, key: Key, number: int) -> Link:
        """With whom a start shares the noise of its links in a round, by what both ends recorded.

        A peer can compute the noise that another one drew with its key, whether it did or not, as soon as it has
        that one's key.
        """

        def shared(own: int, other: int) -> tuple[Hashable, Drawn] | None:
            plan = self.plans[key]
            peer = plan.roster.members[other]
            ends = (self.places[key[0]], self.places.get(peer, -1))
            if not draws_in_secret(plan.algorithm):
                return (number, frozenset((own, other))), ends
            starts = self.lives[key].links.get(number)
            if starts is not None:
                start = starts.get(other)
            else:  # it was killed before the record was on the disk
                told = (each for each, life in self.lives.items() if _told(life, number, own, key[1]))
                start = next((each[1] for each in told if each[0] == peer), None)
            return None if start is None else ((number, frozenset((key, (peer, start)))), ends)

        return shared

    def carry_out(
        self, number: int, running: Mapping[Key, RoundInProgress], draws: Draws, *, width: int
    ) -> list[Seen]:
        """Carry all exchanges of a round out; starts that were killed in it stop where they were.

        Parameters
        ----------
        number : int
            Of the round.
        running : mapping of Key to RoundInProgress
            Before their first exchanges.
        draws : Draws
            Of noise on rows that leave.
        width : int
            Of the rows. What algorithms send beyond it are weights, the same whatever the values.
        """
        seen: list[Seen] = []
        going, exchange = dict(running), 0
        while going := {key: each for key, each in going.items() if each.exchange is not None}:
            position = (number, exchange)
            sent = {
                key: self._sent(key, position, each.exchange, draws, width=width)
                for key, each in going.items()
                if each.exchange is not None
            }
            mixes = {key: mix for key in going if (mix := self.lives[key].mixes.get(position)) is not None}
            going = {key: going[key] for key in mixes}
            for key, mix in mixes.items():
                rows = self._received(key, position, mix, sent)
                seen += self._seen_in_merging(key, position, mix, rows, sent, width=width)
                seen += self._seen_beside(key, number, mixes, sent[key], width=width)
                plan, out = self.plans[key], sent[key].out
                if out.form.over == "links":  # zeros in float64 for those that are missing
                    nothing = out.exchange.rows.new_zeros(out.form.size)
                    rows = {each: rows.get(each, nothing) for each in out.neighbours}
                going[key].answer(
                    mixed(plan, position, out, rows, untaken=mix.untaken, listening=mix.listening)
                )
            exchange += 1
        return seen

    def _sent(
        self, key: Key, position: Position, exchange: AnyExchange, draws: Draws, *, width: int
    ) -> _Sent:
        plan, place = self.plans[key], self.places[key[0]]
        deviation = self._deviation
        if deviation is None:
            deviation = deviation_of(self.lives[key].life.settings.outgoing)
        rows = draws.leaving([place] * len(exchange.rows), exchange.rows, deviation=deviation)
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
        """Rows that were merged; of masked ones their sum, and each for those who can take its masks off."""
        plan, receiver = self.plans[key], self.places[key[0]]
        peers = {member: self.places[plan.roster.members[member]] for member in rows}
        if plan.ring is None or not rows:
            return [Seen(receiver, peers[member], row[:width]) for member, row in rows.items()]
        weights = plan.mixing.row(position, sent[key].out.form, plan.number)
        total = torch.stack([weights[member] * row[:width] for member, row in rows.items()]).sum(dim=0)
        needed, holders = self._holders(plan, sent[key].out.neighbours)
        seen = [Seen(receiver, peers[member], row[:width], needed, holders) for member, row in rows.items()]
        return [Seen(receiver, next(iter(peers.values())), total), *seen]

    def _holders(self, plan: RoundsPlan, neighbours: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """How many of a receiver's neighbours can take all masks off together with it, and who they are."""
        found = (self.places.get(plan.roster.members[member], -1) for member in neighbours)
        return threshold_of(len(neighbours)), tuple(place for place in found if place >= 0)

    def _seen_beside(
        self, key: Key, number: int, mixes: Mapping[Key, Mix], own: _Sent, *, width: int
    ) -> list[Seen]:
        """Rows of a start that were sent and not merged: they may have arrived, too late or before a crash."""
        plan, mix = self.plans[key], mixes[key]
        if mix.listening:
            return []
        seen = []
        for recipient in own.recipients:
            peer = plan.roster.members[recipient]
            merged = any(
                other[0] == peer and each.incarnations.get(plan.number) == key[1]
                for other, each in mixes.items()
            )
            if peer in self.places and recipient not in mix.unsent and not merged:
                needed, holders = 0, tuple[int, ...]()
                if plan.ring is not None:  # masked rows show nothing but to those who can take masks off
                    around = plan.mixing.neighbours(number, own.out.form, recipient)
                    needed, holders = self._holders(plan, around)
                row = own.row(recipient)[:width]
                seen.append(Seen(self.places[peer], self.places[key[0]], row, needed, holders))
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
    changed = changes_in(settings.outgoing, settings.codec, rounding)
    if changed:
        raise NotAccountable(
            f"rows of {where} were changed before they left, and not linearly",
            expected="rows sent in full or rounded, or with noise",
            got=", ".join(changed),
        )


def _require_links(each: RoundLife, algorithm: RoundAlgorithm) -> None:
    """Require that a start recorded with whom it shared noise, if it did."""
    if shares_secret_noise(algorithm) and each.mixes and not each.links:
        raise NotAccountable(
            f"start {each.life.incarnation} of peer {each.life.peer} did not record with whom it shared noise",
            expected="records of the kind links, as peers write them since they are accounted for",
            remedy="Account for a scenario like it.",
        )


def _told(life: RoundLife, number: int, member: int, start: int) -> bool:
    """Whether a start recorded that it shared noise with a start of a member in a round."""
    return life.links.get(number, {}).get(member) == start


def _require_linear(name: str, exchange: AnyExchange, *, width: int) -> None:
    if exchange.compressor is not None:
        what, remedy = (
            f"{name!r} compresses its rows, which is not linear",
            "Choose an algorithm that does not.",
        )
    elif exchange.rows.shape[1] < width:
        what, remedy = f"{name!r} sends only parts of its rows", "Choose an algorithm that sends whole rows."
    elif isinstance(exchange, NeighbourRows):
        what = f"{name!r} combines its neighbours' rows by a rule that is not linear in them"
        remedy = "Choose an algorithm that averages."
    else:
        return
    raise NotAccountable(what, remedy=remedy)
