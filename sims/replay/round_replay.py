"""Replay of peers that learned in rounds: all of them round by round, exchange by exchange.

Within a round everything depends on the models before it and on rows of the same round, so all starts that did an
exchange do it side by side. A start that was killed in the middle of a round takes part as far as it got: the
others' models contain what it had sent by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gossipfl.algorithms import AnyExchange, Mixed
from gossipfl.rounds import (
    Outgoing,
    Position,
    at_rest,
    encoded_for,
    finite_or_before,
    mixed,
    mixed_sum,
    outgoing,
    row_digest,
)
from gossipfl.secure import RingRow, ring_sum
from gossipfl.training import Nodes
from sims.engine.workers import torch_threads
from sims.replay.departure import Departure
from sims.replay.errors import TornRecords
from sims.replay.learning import Learnings
from sims.replay.lies import KeptLiesOfRounds
from sims.replay.lives import LOSS_TOLERANCE, RecordedPeer, Version, rounded_otherwise
from sims.replay.round_records import Mix
from sims.replay.round_starts import Key, Running, Starts
from sims.replay.round_units import Unit
from sims.replay.sending import recorded_normals

__all__ = ["replay_rounds"]


def replay_rounds(
    peers: Sequence[RecordedPeer], learnings: Learnings, targets: Iterable[Version], *, batched: bool
) -> tuple[dict[Version, Nodes], Counter[str], int, Departure | None]:
    """Compute the models of peers that learned in rounds from their records.

    Parameters
    ----------
    peers : sequence of RecordedPeer
        All members.
    learnings : Learnings
    targets : iterable of Version
        The versions required; an event is the number of the next round.
    batched : bool
        Whether peers that do the same train as one batch, with different rounding.

    Returns
    -------
    found : dict of Version to Nodes
        The models that were wanted.
    rounds : Counter of str
        By peer, how many rounds were computed.
    batches : int
        How many times peers trained as one batch; 0 a row at a time.
    departure : Departure or None
        The first round whose outcome differs from the record.

    Raises
    ------
    MissingPeer
        If rows came from other members.
    TornRecords
        If records contradict each other, or something needed was never recorded.
    """
    with torch_threads(1 if batched else None), torch.no_grad():
        replay = _Replay(peers, learnings, tuple(targets), batched=batched)
        return replay.run(), replay.rounds, replay.batches, replay.departure


class _Replay:
    """All rounds, in order."""

    def __init__(
        self,
        peers: Sequence[RecordedPeer],
        learnings: Learnings,
        targets: tuple[Version, ...],
        *,
        batched: bool,
    ) -> None:
        self._targets, self._batched = targets, batched
        self._starts = Starts(peers, learnings, targets)
        self._lives = self._starts.lives
        self._lies = KeptLiesOfRounds([each.life for each in self._lives.values()])
        self._rounds_otherwise = batched or rounded_otherwise(each.life for each in self._lives.values())
        self.rounds: Counter[str] = Counter()
        self.batches = 0
        self.departure: Departure | None = None

    def run(self) -> dict[Version, Nodes]:
        """Do all rounds, and return the required versions."""
        doing = self._starts.who_does_what()
        for number in sorted(doing):
            self._do(number, doing[number])
        self._starts.keep_last()
        return {target: self._starts.found[target] for target in self._targets}

    def _do(self, number: int, keys: Collection[Key]) -> None:
        running = [self._starts.start(key) for key in sorted(keys)]
        for each in running:
            if each.event > number:
                raise TornRecords(
                    f"start {each.key[1]} of peer {each.key[0]} sent a row for round {number}, and its records "
                    f"say that it was at round {each.event}"
                )
            self._starts.keep(each, upto=number)
            first = self._lives[each.key].mixes.get((number, 0))
            if first is not None and first.listening:
                each.nodes = at_rest(each.nodes)
        units = self._units(running, number)
        stopped: set[Key] = set()
        exchange = 0
        while going := [unit for unit in units if not unit.is_over]:
            sent: dict[Key, Outgoing] = {}
            for unit in going:
                for each, what in zip(unit.members, unit.exchanges(), strict=True):
                    if each.key not in stopped:
                        sent[each.key] = self._sent(each, (number, exchange), what)
            for unit in going:
                mixes = [self._lives[each.key].mixes.get((number, exchange)) for each in unit.members]
                if any(mix is None for mix in mixes):  # killed here; such a start is a unit of its own
                    stopped.update(each.key for each in unit.members)
                    continue
                unit.answer(
                    [
                        self._mixed(each, (number, exchange), sent, mix, place=place)
                        for place, (each, mix) in enumerate(zip(unit.members, mixes, strict=True))
                        if mix is not None
                    ]
                )
            units = [unit for unit in units if unit.members[0].key not in stopped]
            exchange += 1
        for unit in units:
            self._finish(unit, number)

    def _units(self, running: Sequence[Running], number: int) -> list[Unit]:
        """Starts that finished the round with the same training go together where allowed; others alone."""
        groups: dict[object, list[Running]] = {}
        for each in running:
            life = self._lives[each.key]
            together = self._batched and number in life.outcomes
            group = (life.life.settings.training, life.rests(number)) if together else each.key
            groups.setdefault(group, []).append(each)
        units = []
        for members in groups.values():
            first = self._lives[members[0].key]
            rests = first.rests(number)
            if len(members) == 1:
                self._set_threads(members[0])
                own = members[0].learning.trainer
                units.append(Unit(members, number, trainer=own, owners=[0], rests=rests))
            else:
                places = [each.place for each in members]
                pooled = self._starts.pooled_trainer(first.life.settings.training)
                units.append(Unit(members, number, trainer=pooled, owners=places, rests=rests))
                self.batches += 1
        return units

    def _sent(self, each: Running, position: Position, exchange: AnyExchange) -> Outgoing:
        secret = self._lives[each.key].secrets.get(position)
        noise = recorded_normals(each.plan.outgoing, secret, peer=each.key[0])
        return outgoing(each.plan, position, exchange, noise=noise)

    def _mixed(
        self,
        each: Running,
        position: Position,
        sent: Mapping[Key, Outgoing],
        mix: Mix,
        *,
        place: int,
    ) -> Mixed:
        rows: dict[int, Tensor] = {}
        encoded: list[RingRow] = []
        for member, incarnation in mix.incarnations.items():
            key = (each.plan.roster.members[member], incarnation)
            source = sent.get(key)
            lie = self._lies.row(key, position, to=each.plan.number)
            if source is not None and lie is not None:
                source = replace(source, sent=lie)
            if source is not None and each.plan.ring is not None and member in sent[each.key].neighbours:
                encoded.append(encoded_for(self._starts.plan(key), position, source, each.plan.number))
                continue
            if source is None or each.plan.number not in source.payloads:
                raise TornRecords(
                    f"{Version(*each.key, position[0])} mixed a row of member {member} in exchange {position[1]} "
                    "that its records do not lead to",
                    remedy="Homes of different runs were mixed, or records were edited.",
                )
            rows[member] = (
                source.codec.decode(
                    source.payloads[each.plan.number], each.plan.outgoing.width(source.form.size)
                )
                if lie is None
                else lie[0]
            )
        self._set_threads(each)
        if each.plan.ring is not None:
            total = ring_sum(encoded, like=encoded[0]) if encoded else None
            return mixed_sum(
                each.plan, position, sent[each.key], total, mix.incarnations, listening=mix.listening
            )
        return mixed(
            each.plan,
            position,
            sent[each.key],
            rows,
            untaken=mix.untaken,
            listening=mix.listening,
            place=place,
        )

    def _finish(self, unit: Unit, number: int) -> None:
        for place, (each, after) in enumerate(zip(unit.members, unit.outcomes(), strict=True)):
            recorded = self._lives[each.key].outcomes.get(number)
            if recorded is None:
                continue  # it was killed before it could say so; nobody knows of this model
            each.nodes, _ = finite_or_before(after, each.nodes)
            each.event = number + 1
            self.rounds[each.key[0]] += 1
            loss = float(unit.local.losses[place])
            if (int(each.nodes.ages[0]), int(each.nodes.steps[0])) != (recorded.age, recorded.step):
                raise TornRecords(
                    f"the age or step after round {number} of {each.key[0]} is not the one recorded",
                    expected=f"age {recorded.age}, step {recorded.step}",
                    got=f"age {int(each.nodes.ages[0])}, step {int(each.nodes.steps[0])}",
                )
            if self._rounds_otherwise:
                left = abs(loss - recorded.loss) > LOSS_TOLERANCE * abs(recorded.loss)
            else:
                left = row_digest(each.nodes) != recorded.digest
            if left and self.departure is None:
                differs: tuple[str, object, object] = ("loss", recorded.loss, loss)
                if repr(loss) == repr(recorded.loss):  # the training agrees, but not what was made of it
                    differs = ("model's digest", recorded.digest, row_digest(each.nodes))
                self.departure = Departure(Version(*each.key, number + 1), self.rounds.total() - 1, *differs)

    def _set_threads(self, each: Running) -> None:
        threads = self._lives[each.key].life.threads
        if not self._batched and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
