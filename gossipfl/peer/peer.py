"""A peer: one nursery, and in it a named task for each thing it does."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import trio
from torch import nn

from gossipfl.errors import HomeError, IdentityInUseTwice
from gossipfl.network import (
    NetworkCounters,
    load_or_create_identity,
    open_host,
)
from gossipfl.peer.assembly import (
    checkpoint_of,
    expectation_of,
    first_state,
    neighbour_generator,
    network_limits,
    outgoing_of,
    resumed_state,
    trainer_of,
    warn_of_lost_identity,
)
from gossipfl.peer.conditions import Conditions, note_clock_behind, watch_clock
from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.gossip.driver import sampled_view, take_part_in_gossip
from gossipfl.peer.gossip.events import State
from gossipfl.peer.gossip.isolation import warn_of_isolation
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.plan import GossipPlan, gossip_algorithm, gossip_plan, in_full
from gossipfl.peer.gossip.view import SampledView
from gossipfl.peer.housekeeping import Housekeeping
from gossipfl.peer.membership.entrance import Entrance, with_introducers
from gossipfl.peer.renewal import renew_for_ever, require_renewable
from gossipfl.peer.rounds import (
    in_rounds,
    roster_book,
    take_part_in_rounds,
)
from gossipfl.peer.start_record import start_record
from gossipfl.peer.status import PeerStatus
from gossipfl.peer.store.checkpoint import Checkpoint
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.ports import recall_ports, remember_ports
from gossipfl.peer.store.records import RecordWriter
from gossipfl.peer.store.versions import bring_up_to_date, said_of_restoring
from gossipfl.peer.threads import run_abandonable
from gossipfl.rounds import RoundsPlan, plan_of, started
from gossipfl.rounds.plan import round_algorithm
from gossipfl.rows import load_row
from gossipfl.settings import PeerSettings, load_settings, with_modules
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.training import Trainer, rehearse
from topology.plugins import also_search

__all__ = ["Peer"]

logger = logging.getLogger(__name__)

_STATUS_SECONDS = 1.0
_FAREWELL_SECONDS = 4.0


class Peer:
    """A participant of a gossip learning network.

    Parameters
    ----------
    home : Path or str
        Its directory; made if there is none.
    settings : PeerSettings, optional
        By default those of the home's ``peer.toml``.
    task : Task, optional
        By default the one the settings name.

    Raises
    ------
    SettingError, HomeError, TaskError
        If the settings, the directory or the task are wrong.

    Examples
    --------
    >>> import trio
    >>> peer = Peer("alice")            # doctest: +SKIP
    >>> trio.run(peer.run)              # doctest: +SKIP
    """

    def __init__(
        self, home: Path | str, *, settings: PeerSettings | None = None, task: Task | None = None
    ) -> None:
        self.home = Home(Path(home))
        if settings is None:
            self.home.require()
            settings, is_new = load_settings(self.home.settings), False
        else:
            is_new = not self.home.settings.exists()
        resolved = with_modules(settings, self.home.directory)
        if resolved.runtime.modules is not None:
            also_search(resolved.runtime.modules)
        if settings.rounds.algorithm is None:
            gossip_algorithm(resolved)  # what is wrong with it is said now
        else:
            round_algorithm(resolved)
        if is_new:
            self.home.create(settings)
        self.settings = settings = resolved
        self.task = task or find_task(
            settings.task.name,
            settings.task.options,
            metrics=settings.task.metrics,
            directory=resolved.runtime.modules,
        )
        self.counters = NetworkCounters()
        self.conditions = Conditions()
        self.ready = trio.Event()
        self._view: AddressBook | SampledView
        self._stop: Callable[[], None] | None = None
        self._beyond: int | None = 0
        self._starts_before = 0
        self._started = time.time()

    async def run(self) -> None:
        """Take part until cancelled, or until `stop`; the last thing done is a checkpoint.

        Raises
        ------
        HomeInUse, CorruptCheckpoint, CorruptIdentity, InvalidAddress, InvalidTask, …
            If the peer cannot start; nothing has been changed then. Also if this object has been run before.
        """
        if self.ready.is_set():
            raise HomeError(
                f"this Peer object for {self.home.directory} has been run before",
                remedy="Make a new one: Peer(home) resumes where it stopped.",
            )
        with self.home.locked():
            restored = said_of_restoring(self.home, bring_up_to_date(self.home))
            if restored:
                self.conditions.note("restored", restored)
            warn_of_lost_identity(self.home)
            self._identity = load_or_create_identity(self.home.directory)
            if self.settings.rounds.algorithm is not None:
                directory, peer_id = self.home.directory, self._identity.peer_id
                self.settings = in_rounds(self.settings, directory=directory, peer_id=peer_id)
            else:
                self.settings = in_full(self.settings)
            self.settings = with_introducers(self.settings, self.home.membership)
            require_renewable(self.task, in_rounds=self.settings.rounds.algorithm is not None)
            data = await run_abandonable(self.task.dataset)
            torch.set_num_threads(self.settings.runtime.threads)
            trainer = trainer_of(self.task, data, self.settings)
            await run_abandonable(rehearse, self.task, trainer, data.test_inputs, data.test_targets)
            try:
                with trio.CancelScope() as self._scope:
                    while self._beyond is not None:
                        await self._start(data, trainer, beyond=self._beyond)
            finally:
                self._stop = None

    async def _start(self, data: Dataset, trainer: Trainer, *, beyond: int) -> None:
        """Take part until there is no more to do, or until the peer has to start again; or until cancelled."""
        self._beyond = None
        rounds = self.settings.rounds.algorithm
        resumed = checkpoint_of(self.home, self.task, trainer, rounds=rounds)
        state = resumed_state(resumed) if resumed else first_state(self.task, trainer, self.settings)
        outgoing = outgoing_of(self.settings, self.task)
        plan: RoundsPlan | GossipPlan
        if self.settings.rounds.algorithm is not None:
            plan = plan_of(self.settings, peer_id=self._identity.peer_id, trainer=trainer, outgoing=outgoing)
            state = replace(state, nodes=started(state.nodes, state.event, plan, self.task))
        else:
            plan = gossip_plan(self.settings, self.task, state.nodes)
            state = replace(state, nodes=plan.nodes)
        self._incarnation = self.home.next_incarnation(beyond=beyond)
        note_clock_behind(self.conditions, self._incarnation)
        self._records = RecordWriter(
            self.home.records, incarnation=self._incarnation, settings=self.settings.records
        )
        self._generator = neighbour_generator(self.settings, self._identity.peer_id)
        if resumed is not None:
            self._generator.bit_generator.state = resumed.random_state
        with closing(self._records):
            await self._take_part(data, trainer, state, resumed, plan)

    def stop(self) -> None:
        """End `run` soon and in good order, from any thread; nothing happens if it is not under way."""
        if self._stop is not None:
            self._stop()

    def model(self) -> nn.Module:
        """The model as it is now, in a module of its own: for answers on the spot, with no network.

        Raises
        ------
        HomeError
            If the peer has not been started yet.
        """
        module = self.task.build_module()
        load_row(module, self.task.layout, self._state().nodes.rows[0])
        return module.eval()

    def status(self) -> PeerStatus:
        """What the peer can say of itself now.

        Raises
        ------
        HomeError
            If the peer has not been started yet.
        """
        state = self._state()
        return PeerStatus(
            peer_id=self._identity.peer_id,
            process=os.getpid(),
            task=self.task.name,
            addresses=self._host.addresses,
            incarnation=self._incarnation,
            age=state.age,
            step=state.step,
            event=state.event,
            loss=state.loss,
            divergences=self._learner.divergences,
            metrics=self._housekeeping.metrics,
            saved_age=self._housekeeping.saved_age,
            neighbours=len(self._view),
            connected=len(self._host.connected()),
            rounds=self._participation.described(),
            gate=self._participation.gate(),
            conditions=self.conditions.to_values(),
            network=self.counters.to_dict(),
            membership=self._entrance.described(self._host.members.knocks),
            started=self._started,
            updated=time.time(),
        )

    def _state(self) -> State:
        if not self.ready.is_set():
            raise HomeError("the peer has not been started", remedy="Wait for `peer.ready`.")
        return self._learner.state

    async def _take_part(
        self,
        data: Dataset,
        trainer: Trainer,
        state: State,
        resumed: Checkpoint | None,
        plan: RoundsPlan | GossipPlan,
    ) -> None:
        network = self.settings.network
        if isinstance(plan, RoundsPlan):
            expectation = replace(expectation_of(self.task), rounds=plan.expectation())
        else:
            expectation = expectation_of(self.task, gossip=plan)
        self._entrance = entrance = Entrance(
            self.settings, self.home.membership, self._identity, self.task, layout=expectation.layout
        )
        async with open_host(
            self._identity,
            expectation=expectation,
            listen=network.listen,
            announce=network.announce or None,
            last_ports=recall_ports(self.home.ports),
            limits=network_limits(self.settings),
            threshold=entrance.threshold,
            counters=self.counters,
        ) as self._host:
            await trio.to_thread.run_sync(remember_ports, self.home.ports, self._host.chosen_ports)
            self._participation = self._make_participation(data, trainer, state, resumed, plan)
            self._learner = self._participation.learner
            housekeeping = self._housekeeping = Housekeeping(
                home=self.home,
                task=self.task,
                data=data,
                learner=self._learner,
                view=self._view,
                generator=self._generator,
                records=self._records,
                conditions=self.conditions,
                incarnation=self._incarnation,
                saved_age=resumed.age if resumed else 0,
                rounds=self.settings.rounds.algorithm,
            )
            entrance.serve(self._host, self._participation)
            self._records.append(
                start_record(
                    self._learner.state,
                    peer_id=self._identity.peer_id,
                    task=self.task,
                    settings=self.settings,
                    data=data,
                    resumed=resumed,
                )
            )
            self.ready.set()
            try:
                async with trio.open_nursery() as nursery:
                    token = trio.lowlevel.current_trio_token()
                    self._stop = partial(token.run_sync_soon, self._scope.cancel)
                    self._nursery_scope = nursery.cancel_scope
                    nursery.start_soon(self._learn, nursery.cancel_scope, name="training")
                    for name, task in {**self._participation.tasks, **entrance.tasks()}.items():
                        nursery.start_soon(task, name=name)
                    nursery.start_soon(
                        housekeeping.evaluate_for_ever, self.settings.evaluation.period, name="evaluation"
                    )
                    nursery.start_soon(
                        housekeeping.save_for_ever, self.settings.checkpoint.period, name="checkpoints"
                    )
                    nursery.start_soon(housekeeping.report_for_ever, self.status, name="telemetry")
                    if isinstance(self._learner, Learner):
                        renewal = (self.task, self.settings, data, self._learner, housekeeping.renew)
                        nursery.start_soon(renew_for_ever, *renewal, name="data")
                    nursery.start_soon(
                        warn_of_isolation,
                        self._host.connected,
                        network.bootstrap,
                        self.conditions,
                        self._host.members.knocks,
                        name="isolation",
                    )
                    nursery.start_soon(watch_clock, self.conditions, self._records.append, name="clock")
            finally:
                with trio.move_on_after(_FAREWELL_SECONDS) as farewell:
                    farewell.shield = True
                    await housekeeping.farewell(self.status)

    async def _start_again(self, beyond: int) -> None:
        """Save, and start again beyond an incarnation; go on as before if the disk refuses."""
        try:
            await self._housekeeping.save()
        except HomeError as error:
            logger.warning("%s", error)
            return
        if self._starts_before:
            self.conditions.note("copy", "another copy of this peer seems to be running, and must be stopped")
        self._beyond = beyond
        self._starts_before += 1
        self._nursery_scope.cancel()

    async def _learn(self, scope: trio.CancelScope) -> None:
        """Learn until cancelled, or until there is no more to do; then the peer ends."""
        await self._learner.run()
        await self._housekeeping.evaluate()
        scope.cancel()

    def _make_participation(
        self,
        data: Dataset,
        trainer: Trainer,
        state: State,
        resumed: Checkpoint | None,
        plan: RoundsPlan | GossipPlan,
    ) -> Participation:
        parts = Parts(
            host=self._host,
            state=state,
            task=self.task,
            data=data,
            trainer=trainer,
            generator=self._generator,
            settings=self.settings,
            incarnation=self._incarnation,
            record=self._records.append,
            start_again=self._start_again,
            starts_before=self._starts_before,
            name_double=self._name_double,
            away_seconds=resumed.away_seconds(now=time.time()) if resumed else 0.0,
        )
        saved = resumed.view if resumed else ()
        if isinstance(plan, RoundsPlan):
            self._view = book = roster_book(parts, plan, saved)
            return take_part_in_rounds(parts, plan, book)
        self._view = view = sampled_view(parts, self.home.acquaintances, saved)
        return take_part_in_gossip(parts, plan, view, directory=self.home.directory)

    def _name_double(self, error: IdentityInUseTwice) -> None:
        self.counters.count_refused(error)
        self.conditions.note("copy", str(error))
        logger.warning("%s", error)
