"""Housekeeping alongside learning: evaluation, checkpoints and the status file."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import trio
from torch import Tensor

from gossipfl.codecs import is_finite
from gossipfl.errors import HomeError
from gossipfl.files import named_errors
from gossipfl.peer.conditions import Conditions
from gossipfl.peer.driver import Learning
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.gossip.view import SampledView
from gossipfl.peer.personal import FineTuning
from gossipfl.peer.status import PeerStatus, write_status
from gossipfl.peer.store.checkpoint import Checkpoint, save_checkpoint
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.records import RecordWriter
from gossipfl.peer.threads import run_abandonable
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Dataset, Task
from gossipfl.training import has_diverged

__all__ = ["Housekeeping"]

logger = logging.getLogger(__name__)

_STATUS_SECONDS = 1.0


@dataclass(kw_only=True, eq=False)
class Housekeeping:
    """Evaluates and saves a peer's model, and writes its status.

    Parameters
    ----------
    data : Dataset
        Its test samples are used for evaluation.
    generator : numpy.random.Generator
        Its state is saved with the model.
    conditions : Conditions
        Notified of disk errors.
    saved_age : int
        Age of the checkpoint resumed from.
    settings : PeerSettings
        Its algorithm in rounds, if any, is saved with the model; its fine-tuning is applied before evaluation.

    Raises
    ------
    SettingError
        No parameter has the name of the head that is to be fine-tuned.
    """

    home: Home
    task: Task
    data: Dataset
    learner: Learning
    view: AddressBook | SampledView
    generator: np.random.Generator
    records: RecordWriter
    conditions: Conditions
    incarnation: int
    saved_age: int
    settings: PeerSettings

    def __post_init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.shared_metrics: dict[str, float] | None = None
        settings = self.settings
        self.fine_tuning = FineTuning(self.task, self.data, settings.training, settings.personal)
        self._diverged = False
        rows = self.learner.state.nodes.rows
        # Only needed if it has infinities, which do not count as divergence later.
        self._first_rows = rows.new_zeros(()).expand(rows.shape) if is_finite(rows) else rows

    def renew(self, data: Dataset) -> None:
        """Evaluate on different data from now on; if these have nothing to evaluate on, there are no metrics."""
        self.data = data
        self.fine_tuning = self.fine_tuning.renewed(data)
        if not data.is_measurable:
            self.metrics, self.shared_metrics = {}, None

    async def evaluate_for_ever(self, period: Callable[[], float]) -> None:
        """Evaluate the model on the test samples every ``period()`` seconds."""
        while True:
            await self.evaluate()
            await trio.sleep(period())

    async def evaluate(self) -> None:
        """Evaluate the model on the test samples now, if there are any."""
        async with self.learner.at_rest():
            data, state = self.data, self.learner.state
            if not data.is_measurable:
                return
            shared, personal = await run_abandonable(self._evaluate, state.nodes.models, state.age)
        if not self.data.is_measurable:  # all was forgotten meanwhile
            return
        self.metrics, self.shared_metrics = personal or shared, shared if personal else None
        before = {"before_fine_tuning": _finite(shared)} if personal else {}
        measured = {**_finite(self.metrics), **before}
        self.records.append({"kind": "evaluation", "event": state.event, "age": state.age, **measured})
        if not math.isfinite(self.metrics["loss"]):
            logger.warning("the loss is not finite: lower the learning rate, or clip gradients")

    def _evaluate(self, rows: Tensor, age: int) -> tuple[dict[str, float], dict[str, float]]:
        """Measure the model and, if it is fine-tuned before use, what it becomes; else nothing."""
        tuned = [self.fine_tuning(rows, age)] if self.fine_tuning.is_on else []
        data = self.data
        found = [self.task.evaluate(each, data.test_inputs, data.test_targets) for each in (rows, *tuned)]
        first, *rest = [{name: float(value[0]) for name, value in each.items()} for each in found]
        return first, rest[0] if rest else {}

    async def save_for_ever(self, period: Callable[[], float]) -> None:
        """Save a checkpoint every ``period()`` seconds; disk errors are reported, and saving is tried again."""
        while True:
            await trio.sleep(period())
            await self.save_or_warn()

    async def save_or_warn(self) -> None:
        """Save a checkpoint now; a disk error is only reported."""
        try:
            await self.save()
        except HomeError as error:
            self.conditions.note("disk", str(error))
            logger.warning("%s", error)
        else:
            self.conditions.clear("disk")
        if self.records.lost:
            lost = f"{self.records.lost} records could not be written, so no replay is possible"
            self.conditions.note("records", lost)
        else:
            self.conditions.clear("records")

    async def farewell(self, status: Callable[[], PeerStatus]) -> None:
        """Save and report a last time.

        Raises
        ------
        HomeError
            Saving failed, so everything learned since the previous checkpoint is lost.
        """
        try:
            await self.save()
        finally:
            await self.report(status())

    async def save(self) -> None:
        """Save a checkpoint now, which is not cancelled once begun.

        Raises
        ------
        HomeError
            The disk failed; the previous checkpoint is still there.
        """
        async with self.learner.at_rest():
            await self._save()

    async def _save(self) -> None:
        state = self.learner.state
        if has_diverged(state.nodes.rows, self._first_rows):
            if not self._diverged:
                logger.warning("the model has diverged and is not saved: the last good checkpoint is kept")
            self._diverged = True
            return
        checkpoint = Checkpoint(
            nodes=state.nodes,
            event=state.event,
            merges_pending=state.merges_pending,
            incarnation=self.incarnation,
            random_state=dict(self.generator.bit_generator.state),
            view=self.view.to_values(),
            rounds=self.settings.rounds.algorithm,
            saved_at=time.time(),
        )

        def write() -> None:
            # Records first: a checkpoint must never be ahead of the records that lead to it.
            with named_errors("the checkpoint could not be written"):
                self.records.synchronise()
                save_checkpoint(self.home.checkpoint, checkpoint, self.task)
                self.records.remove_old()

        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(write)
        self.saved_age = state.age
        self.learner.keep(state)
        self.records.append({"kind": "saved", "event": state.event, "age": state.age})

    async def report_for_ever(self, status: Callable[[], PeerStatus]) -> None:
        """Write the status file every second."""
        while True:
            await self.report(status())
            await trio.sleep(_STATUS_SECONDS)

    async def report(self, status: PeerStatus) -> None:
        """Write the status file now; if the disk fails, the old one stays and the peer continues."""
        try:
            await trio.to_thread.run_sync(write_status, self.home.status, status)
        except OSError as error:
            logger.debug("the status could not be written: %s", error)


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
