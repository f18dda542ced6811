"""A peer: one nursery, and in it a named task for each thing it does."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
import trio
from torch import nn

from gossipfl.algorithms import GossipLearning
from gossipfl.codecs import codec
from gossipfl.errors import HomeError
from gossipfl.network import (
    Host,
    Identity,
    NetworkCounters,
    NetworkLimits,
    load_or_create_identity,
    open_host,
    parse_address,
)
from gossipfl.peer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gossipfl.peer.gossip import Gossip
from gossipfl.peer.home import Home
from gossipfl.peer.learner import Learner, State
from gossipfl.peer.outgoing import OutgoingModels
from gossipfl.peer.records import RecordWriter
from gossipfl.peer.status import PeerStatus, write_status
from gossipfl.peer.threads import run_abandonable
from gossipfl.peer.view import RandomView
from gossipfl.rows import load_row
from gossipfl.settings import PeerSettings, load_settings
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.training import NodeData, Nodes, Trainer
from gossipfl.wire import Expectation, PeerDescriptor

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
            settings = load_settings(self.home.settings)
        elif not self.home.settings.exists():
            self.home.create(settings)
        self.settings = settings
        self.task = task or find_task(settings.task.name, settings.task.options)
        self.counters = NetworkCounters()
        self.ready = trio.Event()
        self._stop: Callable[[], None] | None = None
        self._metrics: dict[str, float] = {}
        self._saved_age = 0
        self._started = time.time()

    async def run(self) -> None:
        """Take part until cancelled, or until `stop`; the last thing done is a checkpoint.

        Raises
        ------
        HomeInUse, CorruptCheckpoint, CorruptIdentity, InvalidAddress, InvalidTask, …
            If the peer cannot start; nothing has been changed then.
        """
        with ExitStack() as stack:
            stack.enter_context(self.home.locked())
            self._identity = load_or_create_identity(self.home.directory)
            data = await trio.to_thread.run_sync(self.task.data)
            torch.set_num_threads(self.settings.runtime.threads)
            trainer = self._make_trainer(data)
            resumed = self._load_checkpoint(trainer)
            self._incarnation = self.home.next_incarnation()
            self._records = RecordWriter(self.home.records, incarnation=self._incarnation)
            stack.callback(self._records.close)
            self._generator = _generator(self.settings)
            self._learner = self._make_learner(trainer, resumed)
            await self._take_part(data, resumed)

    def stop(self) -> None:
        """End `run` soon and in good order. Does nothing if the peer does not run."""
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
            metrics=self._metrics,
            saved_age=self._saved_age,
            neighbours=len(self._view),
            connected=len(self._host.connected()),
            network=self.counters.to_dict(),
            started=self._started,
            updated=time.time(),
        )

    def _state(self) -> State:
        if not self.ready.is_set():
            raise HomeError("the peer has not been started", remedy="Wait for `peer.ready`.")
        return self._learner.state

    def _make_trainer(self, data: Dataset) -> Trainer:
        own = NodeData.of_one_node(data.train_inputs, data.train_targets, number=self.settings.runtime.number)
        return Trainer.of(self.task, own, self.settings.training)

    def _load_checkpoint(self, trainer: Trainer) -> Checkpoint | None:
        if not self.home.checkpoint.exists():
            return None
        return load_checkpoint(self.home.checkpoint, self.task, momentum_size=trainer.momentum_size)

    def _make_learner(self, trainer: Trainer, resumed: Checkpoint | None) -> Learner:
        if resumed is None:
            row = self.task.initial_row(self.settings.runtime.number)
            state = State(nodes=Nodes.start(row[None], momentum_size=trainer.momentum_size))
        else:
            state = State(nodes=resumed.nodes, event=resumed.event, merges_pending=resumed.merges_pending)
            self._generator.bit_generator.state = resumed.random_state
        self._saved_age = state.age if resumed else 0
        exchange = self.settings.exchange
        return Learner(
            state=state,
            trainer=trainer,
            algorithm=GossipLearning(self.settings.gossip),
            merges_per_training=exchange.merges_per_training,
            patience=exchange.patience,
            mailbox=exchange.mailbox,
            record=self._records.append,
        )

    async def _take_part(self, data: Dataset, resumed: Checkpoint | None) -> None:
        layout = self.task.layout
        own_codec = codec(self.settings.exchange.codec)
        expectation = Expectation(
            task=self.task.fingerprint,
            layout=layout.digest,
            size=layout.shared_size,
            codecs=tuple(codec(name) for name in ("float32", "bfloat16", "float16")),
        )
        network = self.settings.network
        allowed = frozenset(network.allow)
        async with open_host(
            self._identity,
            expectation=expectation,
            listen=network.listen,
            announce=network.announce or None,
            limits=_limits(self.settings),
            admit=(lambda peer_id: peer_id in allowed) if allowed else None,
            counters=self.counters,
        ) as self._host:
            self._view = self._make_view(self._host, self._identity, resumed)
            gossip = Gossip(
                host=self._host,
                learner=self._learner,
                view=self._view,
                outgoing=OutgoingModels(task=self.task, codec=own_codec, incarnation=self._incarnation),
                task=self.task.fingerprint,
                exchange_settings=self.settings.exchange,
                view_settings=self.settings.view,
                generator=self._generator,
                record=self._records.append,
            )
            self._host.serve(gossip.answer, screen=gossip.screen)
            self._record_start(resumed)
            self.ready.set()
            try:
                async with trio.open_nursery() as nursery:
                    self._stop = nursery.cancel_scope.cancel
                    nursery.start_soon(self._learner.run, name="training")
                    nursery.start_soon(gossip.exchange_models, name="gossip")
                    nursery.start_soon(gossip.exchange_views, name="views")
                    nursery.start_soon(self._evaluate_for_ever, data, name="evaluation")
                    nursery.start_soon(self._save_for_ever, name="checkpoints")
                    nursery.start_soon(self._report_for_ever, name="telemetry")
            finally:
                self._stop = None
                with trio.move_on_after(_FAREWELL_SECONDS) as farewell:
                    farewell.shield = True
                    await self._save()
                    await trio.to_thread.run_sync(write_status, self.home.status, self.status())

    def _make_view(self, host: Host, identity: Identity, resumed: Checkpoint | None) -> RandomView:
        def own() -> PeerDescriptor:
            return PeerDescriptor(peer_id=identity.peer_id, addresses=host.addresses)

        bootstrap = [
            PeerDescriptor(peer_id=str(parse_address(address).peer_id), addresses=(address,), age=1)
            for address in self.settings.network.bootstrap
        ]
        view = RandomView(
            own=own, settings=self.settings.view, generator=self._generator, bootstrap=bootstrap
        )
        if resumed is not None:
            view.restore(resumed.view)
        return view

    def _record_start(self, resumed: Checkpoint | None) -> None:
        state = self._learner.state
        self._records.append(
            {
                "kind": "start",
                "peer": self._identity.peer_id,
                "number": self.settings.runtime.number,
                "task": self.task.fingerprint.hex(),
                "layout": self.task.layout.digest.hex(),
                "event": state.event,
                "age": state.age,
                "step": state.step,
                "merges_pending": state.merges_pending,
                "resumed_from": resumed.incarnation if resumed else None,
                "settings": self.settings.model_dump_json(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )

    async def _evaluate_for_ever(self, data: Dataset) -> None:
        while True:
            state = self._learner.state
            values = await run_abandonable(
                self.task.evaluate, state.nodes.rows, data.test_inputs, data.test_targets
            )
            self._metrics = {name: float(value[0]) for name, value in values.items()}
            self._records.append(
                {"kind": "evaluation", "event": state.event, "age": state.age, **_finite(self._metrics)}
            )
            if not math.isfinite(self._metrics["loss"]):
                logger.warning("the loss is not finite: lower the learning rate, or clip gradients")
            await trio.sleep(self.settings.evaluation.period)

    async def _save_for_ever(self) -> None:
        while True:
            await trio.sleep(self.settings.checkpoint.period)
            try:
                await self._save()
            except OSError as error:
                logger.warning("no checkpoint could be written (%s): make room on the disk", error.strerror)

    async def _save(self) -> None:
        state = self._learner.state
        checkpoint = Checkpoint(
            nodes=state.nodes,
            event=state.event,
            merges_pending=state.merges_pending,
            incarnation=self._incarnation,
            random_state=dict(self._generator.bit_generator.state),
            view=self._view.to_values(),
        )

        def save() -> None:
            # Records first: a checkpoint must never know more than the records that lead to it.
            self._records.synchronise()
            save_checkpoint(self.home.checkpoint, checkpoint, self.task)

        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(save)
        self._saved_age = state.age
        self._records.append({"kind": "saved", "event": state.event, "age": state.age})

    async def _report_for_ever(self) -> None:
        while True:
            await trio.to_thread.run_sync(write_status, self.home.status, self.status())
            await trio.sleep(_STATUS_SECONDS)


def _generator(settings: PeerSettings) -> np.random.Generator:
    seeds = np.random.SeedSequence((settings.runtime.seed, settings.runtime.number))
    return np.random.Generator(np.random.PCG64(seeds))


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _limits(settings: PeerSettings) -> NetworkLimits:
    network = settings.network
    return NetworkLimits(
        connections=network.connections,
        connections_per_address=network.connections_per_address,
        frames_per_second=network.frames_per_second,
        bytes_per_second=network.bytes_per_second,
        dial_seconds=network.dial_seconds,
        exchange_seconds=settings.exchange.deadline,
        keepalive_seconds=network.silence_seconds / 3,
        silence_seconds=network.silence_seconds,
    )
