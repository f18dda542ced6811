"""Replay of peers that learned in rounds: all of them round by round, exchange by exchange.

Within a round everything depends on the models before it and on rows of the same round, so all starts that did
an exchange do it side by side. A start that was killed in the midst of a round takes part as far as it came:
what it had sent by then is in the others' models.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gossipfl.algorithms import AnyExchange, Mixed
from gossipfl.codecs import codec
from gossipfl.outgoing import pipeline_of
from gossipfl.peer.assembly import first_state
from gossipfl.peer.gossip.learner import State
from gossipfl.peer.rounds import RoundsPlan, plan_of, started
from gossipfl.peer.rounds.learner import row_digest
from gossipfl.peer.rounds.mixing import Outgoing, at_rest, finite_or_before, mixed, outgoing
from gossipfl.training import Nodes, Trainer
from sims.replay.departure import Departure
from sims.replay.errors import MissingPeer, TornRecords
from sims.replay.learning import Learnings
from sims.replay.peer_records import RecordedPeer, Version
from sims.replay.round_records import Mix, RoundLife, read_round_life
from sims.replay.round_units import Running, Unit, pooled
from sims.replay.sending import recorded_normals
from sims.replay.threads import set_threads_kept

__all__ = ["ReplayedRounds", "replay_rounds"]

Key = tuple[str, int]
"""Peer id and incarnation: one start of a peer."""

_LOSS_TOLERANCE = 1e-4


@dataclass(slots=True)
class ReplayedRounds:
    """What a replay of rounds found.

    Parameters
    ----------
    found : dict of Version to Nodes
        The models that were wanted.
    rounds : dict of str to int
        By peer, how many rounds were computed.
    batches : int
        How many times peers trained as one batch; 0 a row at a time.
    departure : Departure or None
        The first round that came out otherwise than recorded.
    """

    found: dict[Version, Nodes] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    batches: int = 0
    departure: Departure | None = None


def replay_rounds(
    peers: Sequence[RecordedPeer], learnings: Learnings, targets: Iterable[Version], *, batched: bool
) -> ReplayedRounds:
    """Compute the models of peers that learned in rounds from their records.

    Parameters
    ----------
    peers : sequence of RecordedPeer
        All members.
    learnings : Learnings
    targets : iterable of Version
        What is wanted; an event is the number of the next round.
    batched : bool
        Whether peers that do the same train as one batch, in which rounding differs.

    Raises
    ------
    MissingPeer
        If rows came from members that are not among these.
    TornRecords
        If records contradict each other, or what was needed was never recorded.
    """
    # Small products are not worth sharing out: two threads on a busy machine were ten times slower than one.
    with set_threads_kept(1 if batched else None), torch.no_grad():
        return _Replay(peers, learnings, tuple(targets), batched=batched).run()


class _Replay:
    """All starts, and where each of them is."""

    def __init__(
        self,
        peers: Sequence[RecordedPeer],
        learnings: Learnings,
        targets: tuple[Version, ...],
        *,
        batched: bool,
    ) -> None:
        self._learnings, self._targets, self._batched = learnings, targets, batched
        self._lives: dict[Key, RoundLife] = {
            (life.peer, life.incarnation): read_round_life(peer, life)
            for peer in peers
            for life in peer.lives.values()
        }
        self._running: dict[Key, Running] = {}
        self._plans: dict[Key, RoundsPlan] = {}
        self._trainers: dict[object, Trainer] = {}
        self._snapshots: dict[Version, Nodes] = {}
        resumed = [each.life.resumed for each in self._lives.values()]
        self._wanted = {*targets, *(each for each in resumed if each is not None)}
        for wanted in self._wanted:
            self._require_recorded(wanted)
        self._rounds = 0
        self._outcome = ReplayedRounds(rounds=dict.fromkeys((peer.peer for peer in peers), 0))

    def run(self) -> ReplayedRounds:
        """Do all rounds, and give what was wanted."""
        doing = self._who_does_what()
        for number in sorted(doing):
            self._do(number, doing[number])
        for key in self._lives:
            if any(wanted[:2] == key for wanted in self._wanted):
                self._keep_snapshots(self._start(key), upto=None)
        self._outcome.found = {target: self._snapshots[target] for target in self._targets}
        return self._outcome

    def _who_does_what(self) -> dict[int, set[Key]]:
        """Find which starts take part in each round, be it with a row that others mixed."""
        doing: dict[int, set[Key]] = {}
        for key, recorded in self._lives.items():
            for number, _ in recorded.mixes:
                doing.setdefault(number, set()).add(key)
            for number in recorded.outcomes:
                doing.setdefault(number, set()).add(key)
            roster = self._plan(key).roster.members
            for (number, _), mix in recorded.mixes.items():
                for member, incarnation in mix.incarnations.items():
                    sender = (roster[member], incarnation)
                    self._require_home(sender, roster)
                    doing[number].add(sender)
        return doing

    def _do(self, number: int, keys: Collection[Key]) -> None:
        running = [self._start(key) for key in sorted(keys)]
        for each in running:
            if each.event > number:
                raise TornRecords(
                    f"start {each.key[1]} of peer {each.key[0]} sent a row for round {number}, and its records "
                    f"say that it was at round {each.event}"
                )
            self._keep_snapshots(each, upto=number)
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
        """Starts that finished the round with the same training go together, if they may; others alone."""
        groups: dict[object, list[Running]] = {}
        for each in running:
            training = self._lives[each.key].life.settings.training
            together = self._batched and number in self._lives[each.key].outcomes
            groups.setdefault(training if together else each.key, []).append(each)
        units = []
        for key, members in groups.items():
            if len(members) == 1:
                self._set_threads(members[0])
                own = members[0].learning.trainer
                units.append(Unit(members, number, trainer=own, owners=[0]))
            else:
                places = [each.place for each in members]
                units.append(Unit(members, number, trainer=self._pooled_trainer(key), owners=places))
                self._outcome.batches += 1
        return units

    def _sent(self, each: Running, position: tuple[int, int], exchange: AnyExchange) -> Outgoing:
        secret = self._lives[each.key].secrets.get(position)
        noise = recorded_normals(each.plan.outgoing, secret, peer=each.key[0])
        return outgoing(each.plan, position, exchange, noise=noise)

    def _mixed(
        self,
        each: Running,
        position: tuple[int, int],
        sent: Mapping[Key, Outgoing],
        mix: Mix,
        *,
        place: int,
    ) -> Mixed:
        rows: dict[int, Tensor] = {}
        for member, incarnation in mix.incarnations.items():
            source = sent.get((each.plan.roster.members[member], incarnation))
            if source is None or each.plan.number not in source.payloads:
                raise TornRecords(
                    f"{Version(*each.key, position[0])} mixed a row of member {member} in exchange {position[1]} "
                    "that its records do not lead to",
                    remedy="Homes of different runs were mixed, or records were edited.",
                )
            rows[member] = source.codec.decode(
                source.payloads[each.plan.number], each.plan.outgoing.width(source.form.size)
            )
        self._set_threads(each)
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
            self._rounds += 1
            self._outcome.rounds[each.key[0]] += 1
            came = float(unit.local.losses[place])
            if (int(each.nodes.ages[0]), int(each.nodes.steps[0])) != (recorded.age, recorded.step):
                raise TornRecords(
                    f"the age or step after round {number} of {each.key[0]} is not the one recorded",
                    expected=f"age {recorded.age}, step {recorded.step}",
                    got=f"age {int(each.nodes.ages[0])}, step {int(each.nodes.steps[0])}",
                )
            if self._batched:
                left = abs(came - recorded.loss) > _LOSS_TOLERANCE * abs(recorded.loss)
            else:
                left = row_digest(each.nodes) != recorded.digest
            if left and self._outcome.departure is None:
                version = Version(*each.key, number + 1)
                self._outcome.departure = Departure(version, self._rounds, recorded.loss, came)

    def _start(self, key: Key) -> Running:
        """Give a start as far as it has come, or where it began."""
        if key in self._running:
            return self._running[key]
        recorded = self._lives[key]
        life, learning, plan = recorded.life, self._learnings.of(recorded.life), self._plan(key)
        if life.resumed is None:
            state = first_state(learning.task, learning.trainer, life.settings)
            nodes = started(state, plan, learning.task).nodes
        else:
            before = self._start(life.resumed[:2])
            if life.resumed not in self._snapshots:
                self._keep_snapshots(before, upto=None)
            nodes = self._snapshots[life.resumed].with_momentum(learning.trainer.momentum_size)
            nodes = started(State(nodes=nodes, event=life.first), plan, learning.task).nodes
        places = list(self._lives)
        running = Running(key, plan, learning, places.index(key), nodes, life.first)
        self._running[key] = running
        return running

    def _keep_snapshots(self, running: Running, *, upto: int | None) -> None:
        """Keep the model as it is for every wanted event that it is the model of."""
        for wanted in self._wanted:
            is_now = wanted.event >= running.event and (upto is None or wanted.event <= upto)
            if wanted[:2] == running.key and is_now and wanted not in self._snapshots:
                self._snapshots[wanted] = running.nodes

    def _plan(self, key: Key) -> RoundsPlan:
        if key not in self._plans:
            life = self._lives[key].life
            learning = self._learnings.of(life)
            self._plans[key] = plan_of(
                life.settings,
                peer_id=life.peer,
                trainer=learning.trainer,
                outgoing=pipeline_of(life.settings.outgoing, codec=codec(life.settings.codec)),
            )
        return self._plans[key]

    def _pooled_trainer(self, training: object) -> Trainer:
        if training not in self._trainers:
            lives = [each.life for each in self._lives.values()]
            learnings = [self._learnings.of(life) for life in lives]
            numbers = [self._plan((life.peer, life.incarnation)).number for life in lives]
            settings = next(life.settings.training for life in lives if life.settings.training == training)
            data = pooled(learnings, numbers)
            self._trainers[training] = Trainer.of(learnings[0].task, data, settings)
        return self._trainers[training]

    def _set_threads(self, each: Running) -> None:
        threads = self._lives[each.key].life.threads
        if not self._batched and torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def _require_home(self, sender: Key, roster: Sequence[str]) -> None:
        known = {peer for peer, _ in self._lives}
        if sender[0] not in known:
            raise MissingPeer(
                "rows came from members whose homes were not given",
                expected=f"the homes of all {len(roster)} members; those of {len(known)} were given",
                got=", ".join(peer for peer in roster if peer not in known),
                remedy="Name the homes of these peers too: what they sent is part of the models.",
            )
        if sender not in self._lives:
            raise TornRecords(
                f"a row came from start {sender[1]} of peer {sender[0]}, of which there are no records",
                expected=f"a file {sender[1]:06d}.jsonl among them",
                remedy="Restore the file: a replay needs every start of every peer.",
            )

    def _require_recorded(self, wanted: Version) -> None:
        recorded = self._lives.get(wanted[:2])
        if recorded is None or not recorded.life.first <= wanted.event <= recorded.last:
            raise TornRecords(
                f"the model before round {wanted.event} of start {wanted.incarnation} of peer {wanted.peer} was "
                "saved, and is not recorded",
                remedy="The records were cut short, or copied before what depends on them: copy all again.",
            )
