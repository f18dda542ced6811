"""One start of a peer: from its checkpoint, through learning with others, to its last checkpoint."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import InitVar, dataclass

import trio

from gossipfl import __version__
from gossipfl.errors import HomeError, IdentityInUseTwice
from gossipfl.keyboard.keyboard import Keyboard
from gossipfl.network import Host, Identity, NetworkCounters, open_host
from gossipfl.peer.assembly import expectation_in, network_limits, nodes_reader, outgoing_of
from gossipfl.peer.beginning import begin
from gossipfl.peer.conditions import Conditions, note_clock_behind
from gossipfl.peer.control import obey
from gossipfl.peer.departures import Departures
from gossipfl.peer.device_loop import DeviceLoop, Sending
from gossipfl.peer.doctor.examiner import Examiner
from gossipfl.peer.driver import Learning, Participation, Parts
from gossipfl.peer.estimates.gossip import ReportGossip
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.gossip.doubles import LASTING_SECONDS
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.view import SampledView
from gossipfl.peer.housekeeping import Housekeeping
from gossipfl.peer.membership.charter import charter_of
from gossipfl.peer.membership.entrance import Entrance
from gossipfl.peer.named_tasks import tasks_beside_learning
from gossipfl.peer.neighbours import Neighbours
from gossipfl.peer.page.activity import Activity
from gossipfl.peer.page.opening import Page, open_page
from gossipfl.peer.permission import Permissions
from gossipfl.peer.policy.watching import PolicyWatch
from gossipfl.peer.relaying import relaying
from gossipfl.peer.reporting import status_of
from gossipfl.peer.start_record import start_record
from gossipfl.peer.status import PeerStatus
from gossipfl.peer.store.good_versions import is_large, kept_on_disk
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.ports import recall_ports, remember_ports
from gossipfl.peer.store.records import RecordWriter
from gossipfl.peer.taking_part import take_part
from gossipfl.peer.typing import Typing, typing_of
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import Trainer
from gossipfl.wire import row_bytes

__all__ = ["Incarnation"]

logger = logging.getLogger(__name__)

_LAST_SAVE_SECONDS = 5.0


@dataclass(kw_only=True, eq=False)
class Incarnation:
    """A start of a peer, whose number tells its messages and records from those of other starts.

    Parameters
    ----------
    home : Home
        Locked by this process.
    trainer : Trainer
        For these data.
    keyboard : Keyboard, optional
        Whose store these data come from.
    settings : PeerSettings
        With every parameter that a replay needs.
    began : float
        When this process began to run the peer, in seconds since 1970.
    starts_before : int
        Earlier starts in this process.
    beyond : int
        A number that this start's must exceed.

    Raises
    ------
    CorruptCheckpoint, SettingError, HomeError
        The peer cannot start.
    """

    home: Home
    identity: Identity
    task: Task
    data: Dataset
    trainer: Trainer
    keyboard: Keyboard | None
    settings: PeerSettings
    counters: NetworkCounters
    conditions: Conditions
    began: float
    starts_before: int
    beyond: InitVar[int]

    def __post_init__(self, beyond: int) -> None:
        self._beyond: int | None = None
        self.leaves = False  # once `gossipfl peer leave` has asked for it
        beginning = begin(self.home, self.task, self.trainer, self.settings, peer_id=self.identity.peer_id)
        self._plan, self._resumed, self._generator = beginning.plan, beginning.resumed, beginning.generator
        self._state = beginning.state
        self.number = self.home.next_incarnation(beyond=beyond)
        note_clock_behind(self.conditions, self.number)
        kept = self.settings.records
        self.records = RecordWriter(self.home.records, incarnation=self.number, settings=kept)
        self.activity = Activity(self.records.append)
        self.page: Page | None = None
        self.reports: ReportGossip | None = None
        self.host: Host
        self.view: AddressBook | SampledView
        self.participation: Participation
        self.housekeeping: Housekeeping
        self.typing: Typing | None
        self.device_loop: DeviceLoop | None
        self.policy: PolicyWatch
        self.neighbours: Neighbours
        self.entrance: Entrance
        self.examiner: Examiner
        self.relay: Callable[[], Awaitable[None]] | None
        self._nursery_scope: trio.CancelScope

    @property
    def learner(self) -> Learning:
        """The owner of the model."""
        return self.participation.learner

    async def run(self, on_ready: Callable[[], None]) -> int | None:
        """Take part until there is no more to do, until the peer must start again, or until cancelled.

        Parameters
        ----------
        on_ready : callable
            Called once others can be reached and learning is about to begin.

        Returns
        -------
        int or None
            A number that the next start must exceed; None if there is to be no next one.
        """
        with closing(self.records):
            expectation = expectation_in(self._plan, self.task)
            charter = charter_of(self.settings, self.task, layout=expectation.layout)
            self.entrance = Entrance(self.settings, self.home.membership, self.identity, charter=charter)
            network = self.settings.network
            async with open_host(
                self.identity,
                expectation=expectation,
                listen=network.listen,
                announce=network.announce or None,
                last_ports=recall_ports(self.home.ports),
                limits=network_limits(self.settings, row_bytes=row_bytes(expectation)),
                threshold=self.entrance.threshold,
                counters=self.counters,
            ) as self.host:
                self._limit_link(self.settings)
                self.host.identify.agent = f"gossipfl/{__version__}"
                await trio.to_thread.run_sync(remember_ports, self.home.ports, self.host.chosen_ports)
                await self._take_part(on_ready)
        return self._beyond

    def status(self) -> PeerStatus:
        """Return the status of the peer now."""
        return status_of(self)

    async def _take_part(self, on_ready: Callable[[], None]) -> None:
        self.participation = self._make_participation()
        del self._state  # which the learner has now
        self.neighbours = Neighbours(
            host=self.host,
            view=self.view,
            model_ages=self.participation.model_ages,
            codec_to=self.participation.codec_to,
            merges_from=self.activity.merges_from,
            effect_of=self.participation.effect_of,
        )
        self.housekeeping = Housekeeping(
            home=self.home,
            task=self.task,
            data=self.data,
            learner=self.learner,
            view=self.view,
            generator=self._generator,
            records=self.records,
            conditions=self.conditions,
            incarnation=self.number,
            saved_age=self._resumed.age if self._resumed else 0,
            settings=self.settings,
        )
        self.relay = relaying(
            self.settings, self.host, self.identity, self.conditions, size=self.task.layout.shared_size
        )
        self.examiner = Examiner(
            home=self.home,
            host=self.host,
            row_bytes=4 * self.task.layout.size,
            may_measure=lambda: self.policy.permissions.current.merges,
        )
        self.entrance.serve(self.host, self.participation.answer, screen=self.participation.screen)
        self.records.append(
            start_record(
                self.learner.state,
                peer_id=self.identity.peer_id,
                task=self.task,
                settings=self.settings,
                data=self.data,
                resumed=self._resumed,
            )
        )
        permissions = Permissions(self.learner.allow, self.activity.record)
        self.policy = PolicyWatch(self.settings.policy, self.home.directory, permissions, self.conditions)
        self.typing = typing_of(self.keyboard, self.participation, permissions, self.conditions)
        self.device_loop = None if self.typing is None else self._make_device_loop(permissions)
        if self.settings.estimates.enabled:
            self.reports = ReportGossip(
                host=self.host,
                identity=self.identity,
                task=self.task,
                learner=self.learner,
                metrics=lambda: self.housekeeping.metrics if self.typing is None else {},
                period=self.settings.estimates.period,
            )
        if self.settings.page.enabled:
            self.page = await open_page(self)
        if isinstance(self.learner, Learner) and is_large(self.learner.state.nodes):
            await self.housekeeping.save_or_warn()  # so that no second copy stays in memory to go back to
        on_ready()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery_scope = nursery.cancel_scope
                own = {"training": self._learn, "requests": self._obey}
                for name, task in {**own, **tasks_beside_learning(self)}.items():
                    nursery.start_soon(task, name=name)
        finally:
            with trio.move_on_after(_LAST_SAVE_SECONDS) as last_save:
                last_save.shield = True
                if self.leaves:
                    await self.participation.say_farewell()
                await self.housekeeping.farewell(self.status)

    def _make_device_loop(self, permissions: Permissions) -> DeviceLoop:
        return DeviceLoop(
            done=lambda: self.activity.loop,
            sending=Sending.of(self.settings, outgoing_of(self.settings, self.task), self.task.layout),
            departures=Departures(self.counters, path=self.home.departures),
            permission=lambda: permissions.current,
        )

    def reload(self, settings: PeerSettings) -> None:
        """Apply settings that may change while the peer runs.

        Raises
        ------
        SettingError
            They call for another door, or the policy for what is not there; nothing was changed.
        """
        self.policy.require_readable(settings.policy)
        self.entrance.allow_as(settings)
        self.host.members.require()
        self.participation.reload(settings)
        self._limit_link(settings)
        self.policy.reload(settings.policy)
        self.settings = settings

    def _limit_link(self, settings: PeerSettings) -> None:
        self.host.link.upload.limit(settings.network.upload_mbits)
        self.host.link.download.limit(settings.network.download_mbits)

    async def _obey(self) -> None:
        await obey(
            self.home.requests,
            incarnation=self.number,
            permissions=self.policy.permissions,
            conditions=self.conditions,
            leave=self._leave,
            examine=self.examiner.ask_for,
        )

    def _leave(self) -> None:
        logger.info("leaving the network, as requested by gossipfl peer leave")
        self.leaves = True
        self._nursery_scope.cancel()

    async def _learn(self) -> None:
        """Learn until cancelled, or until there is no more to do; then end this start."""
        await self.learner.run()
        await self.housekeeping.evaluate()
        self._nursery_scope.cancel()

    async def _start_again(self, beyond: int) -> None:
        """Save, and end this start so that the next one exceeds a number; continue if the disk refuses."""
        try:
            await self.housekeeping.save()
        except HomeError as error:
            logger.warning("%s", error)
            return
        self._beyond = beyond
        self._nursery_scope.cancel()

    def _make_participation(self) -> Participation:
        resumed = self._resumed
        parts = Parts(
            host=self.host,
            state=self._state,
            task=self.task,
            data=self.data,
            trainer=self.trainer,
            generator=self._generator,
            settings=self.settings,
            incarnation=self.number,
            record=self.activity.record,
            start_again=self._start_again,
            starts_before=self.starts_before,
            report_double=self._report_double,
            kept=kept_on_disk(self.home.checkpoint, nodes_reader(self.task, self.trainer)),
            note=self.conditions.note,
            away_seconds=resumed.away_seconds(now=time.time()) if resumed else 0.0,
        )
        saved = resumed.view if resumed else ()
        self.view, participation = take_part(parts, self._plan, self.home, saved)
        return participation

    def _report_double(self, error: IdentityInUseTwice) -> None:
        self.counters.count_refused(error)
        self.conditions.note("copy", str(error), seconds=LASTING_SECONDS)
        logger.warning("%s", error)
