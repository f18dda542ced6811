"""A peer that programs embed: its directory, settings and task, and running it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path

import torch
import trio
from torch import nn

from gossipfl.errors import HomeError
from gossipfl.keyboard.keyboard import Keyboard
from gossipfl.network import Identity, NetworkCounters, load_or_create_identity
from gossipfl.peer.allocator import return_large_blocks
from gossipfl.peer.assembly import trainer_of, warn_of_lost_identity, warn_of_threads
from gossipfl.peer.conditions import Conditions
from gossipfl.peer.device import device_of, on_device
from gossipfl.peer.gossip.plan import gossip_algorithm, in_full
from gossipfl.peer.incarnation import Incarnation
from gossipfl.peer.membership.door_choice import with_introducers
from gossipfl.peer.private_training import drawing_in_secret
from gossipfl.peer.reloading import changes_between, require_reloadable, with_changes
from gossipfl.peer.renewal import require_renewable
from gossipfl.peer.rounds.driver import in_rounds
from gossipfl.peer.saved_model import saved_model
from gossipfl.peer.status import PeerStatus
from gossipfl.peer.store.good_versions import LARGE_BYTES
from gossipfl.peer.store.home import Home
from gossipfl.peer.store.versions import bring_up_to_date, said_of_restoring
from gossipfl.peer.task_paths import with_task_paths
from gossipfl.peer.threads import run_abandonable
from gossipfl.peer.typing import open_keyboard
from gossipfl.rounds.plan import round_algorithm
from gossipfl.rows import load_row
from gossipfl.settings import PeerSettings, load_settings, with_modules
from gossipfl.tasks import Task, find_task
from gossipfl.training import constants_apart, rehearse
from topology.plugins import also_search

__all__ = ["Peer"]

logger = logging.getLogger(__name__)


class Peer:
    """A participant in a gossip learning network.

    Parameters
    ----------
    home : Path or str
        Its directory, created if it does not exist.
    settings : PeerSettings, optional
        By default those in the home's ``peer.toml``.
    task : Task, optional
        By default the one that the settings name.

    Raises
    ------
    SettingError, HomeError, TaskError
        The settings, the directory or the task are wrong.

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
        self._given = settings
        resolved = with_modules(settings, self.home.directory)
        if resolved.runtime.modules is not None:
            also_search(resolved.runtime.modules)
        if settings.rounds.algorithm is None:
            gossip_algorithm(resolved)  # reports mistakes now
        else:
            round_algorithm(resolved)
        device = device_of(resolved.runtime.device)
        if is_new:
            self.home.create(settings)
        self.settings = settings = resolved if task else with_task_paths(resolved, self.home.directory)
        task = task or find_task(
            settings.task.name,
            settings.task.options,
            metrics=settings.task.metrics,
            directory=resolved.runtime.modules,
        )
        self.task = on_device(task, device)
        self.counters = NetworkCounters()
        self.conditions = Conditions()
        self.ready = trio.Event()
        self._began = time.time()
        self._incarnation: Incarnation | None = None
        self._stop: Callable[[], None] | None = None

    async def run(self) -> None:
        """Take part until cancelled, or until `stop`; the last thing done is a checkpoint.

        Raises
        ------
        HomeInUse, CorruptCheckpoint, CorruptIdentity, InvalidAddress, InvalidTask, …
            The peer cannot start, and nothing has been changed; or this object has been run before.
        """
        if self._incarnation is not None:
            raise HomeError(
                f"this Peer object for {self.home.directory} has been run before",
                remedy="Create a new one: Peer(home) resumes where it stopped.",
            )
        with self.home.locked():
            restored = said_of_restoring(self.home, bring_up_to_date(self.home))
            if restored:
                self.conditions.note("restored", restored)
            warn_of_lost_identity(self.home)
            warn_of_threads(self.settings.runtime.threads)
            if 4 * self.task.layout.size >= LARGE_BYTES:
                return_large_blocks()
            identity = load_or_create_identity(self.home.directory)
            keyboard = open_keyboard(self.home, self.settings, self.task)
            if keyboard is not None:
                self.task = keyboard.task
            with nullcontext() if keyboard is None else closing(keyboard):
                await self._run(identity, keyboard)

    async def _run(self, identity: Identity, keyboard: Keyboard | None) -> None:
        self.settings = self._complete_settings(identity.peer_id)
        data = await run_abandonable(self.task.dataset)
        torch.set_num_threads(self.settings.runtime.threads)
        trainer = trainer_of(self.task, data, self.settings)
        if keyboard is None:  # which knows rows as its own model has them
            self.task, trainer = constants_apart(self.task, trainer)
        await run_abandonable(rehearse, self.task, trainer, data.test_inputs, data.test_targets)
        trainer = drawing_in_secret(
            trainer, self.home.privacy_ledger, note=partial(self.conditions.note, "privacy")
        )
        beyond: int | None = 0
        starts = 0
        try:
            with trio.CancelScope() as scope:
                stop = partial(trio.lowlevel.current_trio_token().run_sync_soon, scope.cancel)
                while beyond is not None:
                    incarnation = Incarnation(
                        home=self.home,
                        identity=identity,
                        task=self.task,
                        data=data,
                        keyboard=keyboard,
                        trainer=trainer,
                        settings=self.settings,
                        counters=self.counters,
                        conditions=self.conditions,
                        began=self._began,
                        starts_before=starts,
                        beyond=beyond,
                    )
                    beyond = await incarnation.run(partial(self._become_ready, incarnation, stop))
                    starts += 1
        finally:
            self._stop = None

    @property
    def has_left(self) -> bool:
        """Whether it was asked to leave the network by ``gossipfl peer leave``."""
        return self._incarnation is not None and self._incarnation.leaves

    def stop(self) -> None:
        """End `run` soon and in an orderly manner, from any thread; without effect unless it is running."""
        if self._stop is not None:
            self._stop()

    def reload(self, settings: PeerSettings) -> None:
        """Apply settings that may change while the peer runs; called in the thread of `run`.

        Parameters
        ----------
        settings : PeerSettings
            As those that the peer was made with.

        Raises
        ------
        SettingError
            Others differ too, which are named; nothing was changed.
        HomeError
            The peer has not been started yet.
        """
        incarnation = self._started()
        changes = changes_between(self._given, settings)
        require_reloadable(changes, in_rounds=settings.rounds.algorithm is not None)
        changed = with_introducers(with_changes(self.settings, settings, changes), self.home.membership)
        incarnation.reload(changed)
        self.settings, self._given = changed, settings
        for key, (old, new) in changes.items():
            logger.info("%s: %s instead of %s from now on", key, new, old)
        if not changes:
            logger.info("the settings are as before")

    def model(self, *, shared: bool = False) -> nn.Module:
        """Return the current model as a module of its own, for inference on this machine.

        Before `run`, it is the model of the last checkpoint.

        Parameters
        ----------
        shared : bool
            Whether to return the model that the peer shares, where it has a personal one beside it, or
            fine-tunes it before use.

        Raises
        ------
        HomeError
            There is no checkpoint yet, or it cannot be read.
        CorruptCheckpoint
            The checkpoint is damaged, or belongs to another task.
        """
        if self._incarnation is None:
            return saved_model(self.home, self.task, shared=shared)[0]
        module = self.task.build_module()
        incarnation = self._started()
        state = incarnation.learner.state
        tuned = incarnation.housekeeping.fine_tuning
        rows = state.nodes.rows if shared else tuned(state.nodes.models, state.age)
        load_row(module, self.task.layout, rows[0])
        return module.eval()

    def status(self) -> PeerStatus:
        """Return the status of the peer now.

        Raises
        ------
        HomeError
            The peer has not been started yet.
        """
        return self._started().status()

    def _complete_settings(self, peer_id: str) -> PeerSettings:
        """Return the settings with the roster or all parameters of the algorithm, and with introducers."""
        learns_in_rounds = self.settings.rounds.algorithm is not None
        require_renewable(self.task, in_rounds=learns_in_rounds)
        settings = (
            in_rounds(self.settings, directory=self.home.directory, peer_id=peer_id)
            if learns_in_rounds
            else in_full(self.settings)
        )
        return with_introducers(settings, self.home.membership)

    def _become_ready(self, incarnation: Incarnation, stop: Callable[[], None]) -> None:
        self._incarnation, self._stop = incarnation, stop
        self.ready.set()

    def _started(self) -> Incarnation:
        if self._incarnation is None:
            raise HomeError("the peer has not been started", remedy="Wait for `peer.ready`.")
        return self._incarnation
