"""All starts of peers that learned in rounds, and the progress of each in a replay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gossipfl.algorithms.round_noise import draws_in_secret
from gossipfl.peer.assembly import first_state
from gossipfl.rounds import RoundsPlan, started
from gossipfl.training import Nodes, Trainer
from sims.replay.errors import NotRecomputable, TornRecords
from sims.replay.learning import Learning, Learnings, pooled_data
from sims.replay.lives import RecordedPeer, Version
from sims.replay.message_bytes import plan_of_start
from sims.replay.removed import require_kept
from sims.replay.round_records import Key, RoundLife, read_round_life, who_does_what

__all__ = ["Key", "Running", "Starts"]


@dataclass(slots=True)
class Running:
    """One start of a peer while it is replayed."""

    key: tuple[str, int]
    """Peer id and incarnation."""
    plan: RoundsPlan
    learning: Learning
    place: int
    """Among all starts."""
    nodes: Nodes
    """The model between two rounds, ``B = 1``."""
    event: int
    """Number of the next round."""


class Starts:
    """Every start of every peer, with the models that are wanted of it.

    Parameters
    ----------
    peers : sequence of RecordedPeer
        All members.
    learnings : Learnings
    targets : iterable of Version
        The versions required; an event is the number of the next round. The versions that starts resumed from are
        required too.

    Attributes
    ----------
    lives : dict of Key to RoundLife
    found : dict of Version to Nodes
        Wanted models, as far as they have been computed.

    Raises
    ------
    TornRecords
        If a required version was never recorded.
    """

    def __init__(
        self, peers: Sequence[RecordedPeer], learnings: Learnings, targets: Iterable[Version]
    ) -> None:
        self._learnings = learnings
        self.lives: dict[Key, RoundLife] = {
            (life.peer, life.incarnation): read_round_life(peer, life)
            for peer in peers
            for life in peer.lives.values()
        }
        self.found: dict[Version, Nodes] = {}
        self._running: dict[Key, Running] = {}
        self._plans: dict[Key, RoundsPlan] = {}
        self._trainers: dict[object, Trainer] = {}
        resumed = [each.life.resumed for each in self.lives.values()]
        self._wanted = {*targets, *(each for each in resumed if each is not None)}
        require_kept(peers, self._wanted)
        for wanted in self._wanted:
            self._require_recorded(wanted)

    def who_does_what(self) -> dict[int, set[Key]]:
        """Find the starts that take part in each round, even if only with a row that others mixed."""
        return who_does_what(self.lives, lambda key: self.plan(key).roster.members)

    def start(self, key: Key) -> Running:
        """Return a start as far as it has got, or as it began."""
        if key in self._running:
            return self._running[key]
        recorded = self.lives[key]
        self._require_known_noise(key)
        life, learning, plan = recorded.life, self._learnings.of(recorded.life), self.plan(key)
        if life.resumed is None:
            nodes = first_state(learning.task, learning.trainer, life.settings).nodes
        else:
            before = self.start(life.resumed[:2])
            if life.resumed not in self.found:
                self.keep(before)
            nodes = self.found[life.resumed].with_optimiser_state(learning.trainer.optimiser_state_size)
        nodes = started(nodes, 0 if life.resumed is None else life.first, plan, learning.task)
        places = list(self.lives)
        running = Running(key, plan, learning, places.index(key), nodes, life.first)
        self._running[key] = running
        return running

    def keep(self, running: Running, *, upto: int | None = None) -> None:
        """Keep the model as it is for every wanted event that it is the model of."""
        for wanted in self._wanted:
            is_now = wanted.event >= running.event and (upto is None or wanted.event <= upto)
            if wanted[:2] == running.key and is_now and wanted not in self.found:
                self.found[wanted] = running.nodes

    def keep_last(self) -> None:
        """Keep the required models once they have got as far as their records."""
        for key in self.lives:
            if any(wanted[:2] == key for wanted in self._wanted):
                self.keep(self.start(key))

    def plan(self, key: Key) -> RoundsPlan:
        """Give the plan that a start had."""
        if key not in self._plans:
            life = self.lives[key].life
            self._plans[key] = plan_of_start(life, self._learnings.of(life).trainer)
        return self._plans[key]

    def pooled_trainer(self, training: object) -> Trainer:
        """Give the trainer of these settings over the samples of all starts."""
        if training not in self._trainers:
            lives = [each.life for each in self.lives.values()]
            learnings = [self._learnings.of(life) for life in lives]
            numbers = [self.plan((life.peer, life.incarnation)).number for life in lives]
            settings = next(life.settings.training for life in lives if life.settings.training == training)
            data = pooled_data([learning.data for learning in learnings], numbers)
            self._trainers[training] = Trainer.of(learnings[0].task, data, settings)
        return self._trainers[training]

    def _require_known_noise(self, key: Key) -> None:
        plan = self.plan(key)
        if draws_in_secret(plan.algorithm):
            raise NotRecomputable(
                f"peer {key[0]} drew the noise of {plan.name} in secret, and kept no record of it",
                remedy="To replay a rehearsal, set secret = false in rounds.parameters; whoever knows rounds.seed "
                "can then take the noise off.",
            )

    def _require_recorded(self, wanted: Version) -> None:
        recorded = self.lives.get(wanted[:2])
        if recorded is None or not recorded.life.first <= wanted.event <= recorded.last:
            raise TornRecords(
                f"the model before round {wanted.event} of start {wanted.incarnation} of peer {wanted.peer} was "
                "saved, and is not recorded",
                remedy="The records were cut short, or copied before what depends on them: copy all again.",
            )
