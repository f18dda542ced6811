"""The only owner of the model of a peer that learns in rounds, in step with others.

Invariant, as for `Learner`: only `RoundLearner.run` replaces the state, and states are immutable; each is the
peer's between two rounds. ``State.event`` is the number of the next round.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
import trio

from gossipfl.algorithms import AnyExchange, Mixed, RoundContext, RoundInProgress
from gossipfl.algorithms.round_noise import RoundNoise
from gossipfl.peer.gossip.events import State
from gossipfl.peer.permission import Permission
from gossipfl.peer.privacy_budget import PrivacyBudget
from gossipfl.peer.rounds.effects import RoundEffects
from gossipfl.peer.rounds.exchanging import answer_of
from gossipfl.peer.rounds.noise_of_rounds import NoiseOfRounds
from gossipfl.peer.rounds.standing import Standing
from gossipfl.peer.rounds.ways import WayOfExchange
from gossipfl.peer.secret_noise import new_normals
from gossipfl.peer.threads import run_abandonable
from gossipfl.privacy.ledger import BudgetSpent
from gossipfl.rounds.member_rows import outgoing
from gossipfl.rounds.message_shapes import form_of
from gossipfl.rounds.plan import RoundsPlan
from gossipfl.rounds.state import at_rest, finite_or_before, measures_of, row_digest
from gossipfl.rounds.training import TrainerOfRounds
from gossipfl.settings import RoundsSettings
from gossipfl.tasks import Task
from gossipfl.training import Nodes, Trainer

__all__ = ["RoundLearner"]

logger = logging.getLogger(__name__)

_TOO_LATE_BEFORE_JUMP = 3
_ROUNDS_ON_JUMP = 2
_OWN = np.zeros(1, dtype=np.int64)


class RoundLearner:
    """Owns the model of a peer that learns in rounds.

    Parameters
    ----------
    state : State
        Initial state, whose event is the number of the first round.
    trainer : Trainer
        For this peer's own data.
    standing : Standing
        Where the peer is among the others.
    way : WayOfExchange
        How rows are exchanged.
    record : callable
        Called with one record for each exchange, round and jump, in order.
    noise : NoiseOfRounds, optional
        For algorithms that add noise, in secret.
    budget : PrivacyBudget, optional
        Spent before rows are sent; once it is spent, the peer sends none, and goes on learning from the others'.
    effects : RoundEffects, optional
        Measures what others' rows do to the model; by default nothing does.

    Attributes
    ----------
    plan : RoundsPlan
    way : WayOfExchange
        Its `exchange` carries out all exchanges; what stands in for it, as in `examples/hostile_peer.py`, sees a
        peer's own row before it leaves, and what came before it is mixed.
    divergences : int
        Rounds that were given up because a number was not finite.
    """

    def __init__(
        self,
        *,
        state: State,
        plan: RoundsPlan,
        task: Task,
        trainer: Trainer,
        settings: RoundsSettings,
        standing: Standing,
        way: WayOfExchange,
        record: Callable[[Mapping[str, Any]], None],
        budget: PrivacyBudget | None = None,
        noise: NoiseOfRounds | None = None,
        effects: RoundEffects | None = None,
    ) -> None:
        self._state = state
        self.plan = plan
        self._task = task
        self._settings = settings
        self._standing, self.way = standing, way
        self._mailbox, self._conversation = standing.mailbox, standing.conversation
        self._record = record
        self._budget = budget
        self._noise = noise
        self._effects = effects
        self._trainer = trainer
        self._permission = Permission()
        self._allowed = trio.Event()  # to take part again
        self._missing: tuple[int, ...] = ()
        self._gathering = True
        self._too_late = 0
        self._listening = False  # for others' models, to adopt them
        self._heard = False
        self.divergences = 0

    @property
    def state(self) -> State:
        """The newest version of the model, an immutable value."""
        return self._state

    def keep(self, state: State) -> None:
        """Do nothing: a round that diverges is abandoned, and the state before it is used."""

    def at_rest(self) -> AbstractAsyncContextManager[object]:
        """Do nothing: others wait for the round."""
        return nullcontext()

    def allow(self, permission: Permission) -> None:
        """Train and merge only as permitted, from the next round on.

        If it may merge but not train, the peer takes part with gradients of zero. If it may not merge, it stays
        away; the others soon no longer wait for it, and it joins them when it may merge again.
        """
        self._permission = permission
        if permission.merges:
            self._allowed.set()
            self._allowed = trio.Event()

    def described(self) -> dict[str, Any]:
        """Return the progress of the rounds, for the status."""
        return {
            "algorithm": self.plan.name,
            "topology": self.plan.mixing.sequence.name,
            "agreement": self.plan.agreement.hex(),
            "number": self.plan.number,
            "members": len(self.plan.roster),
            "round": self._state.event,
            "gathering": self._gathering,
            "missing": list(self._missing),
            **self._measures(self._state.nodes),
            **self._standing.members.described(),
            **({} if self.way.masked is None else {"sums": self.way.masked.described()}),
        }

    def _measures(self, nodes: Nodes) -> dict[str, dict[str, float]]:
        measured = measures_of(self.plan.algorithm, nodes)
        return {"measures": measured} if measured else {}

    async def run(self) -> None:
        """Do rounds until ``settings.stop_after``, or until cancelled."""
        if self._is_done():
            self._gathering = False
            logger.warning(
                "%d rounds are done and rounds.stop_after is %d, so there is nothing to do; raise "
                "rounds.stop_after (--rounds-stop-after) to continue",
                self._state.event,
                self._settings.stop_after,
            )
            return
        await self._be_allowed()
        await self._standing.gather()
        self._gathering = False
        while not self._is_done():
            await self._be_allowed()
            began = trio.current_time()
            await self._jump_if_left_behind()
            if self._listening or (self.way.masked is not None and not self._heard):
                await self._standing.let_others_come()
            await self._do_round()
            if not self._standing.is_behind(by=0):  # catching up takes no pauses
                await trio.sleep_until(began + self._settings.period)

    async def _be_allowed(self) -> None:
        """Wait until the peer may merge."""
        while not self._permission.merges:
            await self._allowed.wait()

    def _is_done(self) -> bool:
        return self._settings.stop_after is not None and self._state.event >= self._settings.stop_after

    async def _jump_if_left_behind(self) -> None:
        """Jump to slightly ahead of most others, if they have continued without this peer.

        They have if they are so far ahead that their current rows are not kept, or if this peer's rows arrived
        too late several times in a row. Slightly ahead, it waits for them, so its row arrives in time. If it was
        far behind, and the algorithm has no state besides the model, it listens first: its outdated model would
        set the others back, and is replaced by theirs.
        """
        if not any(self._left_behind()):
            return
        await self._conversation.announce()  # the answers say where they are now
        lost, slow = self._left_behind()
        if not (lost or slow):
            return
        state, there = (
            self._state,
            self._standing.where_most_are() + min(_ROUNDS_ON_JUMP, self._settings.ahead),
        )
        logger.warning(
            "round %d: the others have continued, and this peer joins them in round %d", state.event, there
        )
        self._record({"kind": "jump", "from_round": state.event, "round": there, "event": there})
        self._state = State(nodes=state.nodes, event=there, loss=state.loss)
        self._mailbox.advance((there, 0))
        self._too_late = 0
        self._listening = lost and not state.nodes.auxiliary
        await self._conversation.announce()

    def _left_behind(self) -> tuple[bool, bool]:
        """Whether this peer is lost, and whether it is too slow, as far as it knows of the others."""
        lost = self._standing.is_behind(by=self._settings.ahead)
        return lost, self._too_late >= _TOO_LATE_BEFORE_JUMP and self._standing.is_behind(by=0)

    async def _do_round(self) -> None:
        before, number = self._state, self._state.event
        began = trio.current_time()
        noise, may_train = await self._noise_of(number)
        rests = not (self._permission.trains and may_train)
        local = self._local = TrainerOfRounds(self._trainer, _OWN, rests=rests)
        context = RoundContext(
            local=local,
            shared_size=self._task.layout.shared_size,
            round=number,
            numbers=torch.tensor([self.plan.number]),
            seed=self.plan.seed,
            links=self.plan.links(number),
            given_noise=noise,
        )
        begun = at_rest(before.nodes) if self._listening else before.nodes
        self._missing = ()
        if self.way.masked is not None:
            self.way.masked.prepare((number, 0))
        # A thread may be abandoned at exit: it works on immutable values that only this task publishes.
        progress = await run_abandonable(RoundInProgress, self.plan.algorithm, begun, context)
        while progress.exchange is not None:
            answer = await self._exchange((number, progress.number), progress.exchange)
            await run_abandonable(progress.answer, answer)
        nodes, gave_up = finite_or_before(progress.nodes, begun)
        if gave_up:
            self._diverged(number)
        self._listening = self._listening and not self._heard
        loss = float(local.losses[0])
        self._state = State(nodes=nodes, event=number + 1, loss=before.loss if local.rests else loss)
        self._record(
            {
                "kind": "round",
                "round": number,
                "event": number + 1,
                "exchanges": progress.number,
                "age": self._state.age,
                "step": self._state.step,
                "loss": loss,
                "rests": local.rests,
                "gave_up": gave_up,
                "digest": row_digest(nodes),
                **self._measures(nodes),
                "seconds": round(trio.current_time() - began, 6),
            }
        )
        self._mailbox.advance((number + 1, 0))
        if gave_up:  # others may be waiting for a row that will not be sent
            await self._conversation.announce()

    async def _noise_of(self, number: int) -> tuple[RoundNoise | None, bool]:
        """Return the secret noise of a round, if it has any, and whether the peer's gradient may be in it."""
        if self._noise is None:
            return None, True
        await self._noise.prepare(number)
        noise, may_train = await run_abandonable(self._noise.begin, number)
        if self._noise.is_shared:
            members = sorted(noise.with_starts)
            starts = [noise.with_starts[each] for each in members]
            self._record({"kind": "links", "round": number, "members": members, "incarnations": starts})
        return noise, may_train

    async def _exchange(self, position: tuple[int, int], exchange: AnyExchange) -> Mixed:
        if self.plan.on_the_wire(position) > self._mailbox.position:
            self._mailbox.advance(self.plan.on_the_wire(position))
        named = {"round": position[0], "exchange": position[1]}
        sends = self._may_send(position, exchange)
        noise = new_normals(self.plan.outgoing, self._record, named)
        out = await run_abandonable(partial(outgoing, self.plan, position, exchange, noise=noise))
        if out.finite:
            result = await self.way.exchange(position, out, sends=sends, listening=self._listening)
        else:  # the round will be abandoned: there is nothing to wait for
            result = self.way.without(position, out)
        self._heard = bool(result.received)
        self._missing = tuple(sorted({*self._missing, *result.missing}))
        self._too_late = self._too_late + 1 if result.too_late else 0
        answer = await run_abandonable(answer_of, self.plan, position, out, result, self._listening)
        effects = {}
        if self._effects is not None and not self._listening:
            nodes = self._state.nodes
            effects = await run_abandonable(self._effects.measured, position, nodes, out, result, answer)
        self._record(
            {
                "kind": "mix",
                "round": position[0],
                "exchange": position[1],
                "members": sorted(result.received),
                "incarnations": [result.received[each].incarnation for each in sorted(result.received)],
                "missing": list(result.missing),
                "untaken": list(result.untaken),
                "unsent": list(result.unsent),
                **({"unwanted": list(result.unwanted)} if self.plan.previews(position[1]) else {}),
                "listening": self._listening,
                "rests": self._local.rests,
                "codec": out.codec.name,
                **effects,
            }
        )
        return answer

    def _may_send(self, position: tuple[int, int], exchange: AnyExchange) -> bool:
        """Whether the rows of an exchange may be sent, and are needed; their budget is then spent."""
        recipients = self.way.recipients(position, form_of(self.plan.name, exchange))
        if self._listening:
            return False
        if self.way.masked is None and all(map(self._standing.members.is_absent, recipients)):
            return False
        try:
            if self._budget is not None:
                self._budget.spend(len(exchange.rows))
        except BudgetSpent:
            self._mailbox.silent = True
        return not self._mailbox.silent

    def _diverged(self, number: int) -> None:
        self.divergences += 1
        if self.divergences.bit_count() == 1:  # the 1st, 2nd, 4th, 8th … time
            logger.warning(
                "round %d diverged (time %d) and was abandoned: lower the learning rate, or clip gradients",
                number,
                self.divergences,
            )
