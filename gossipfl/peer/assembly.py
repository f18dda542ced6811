"""Construction of a peer's parts from its settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from gossipfl.codecs import CODECS, model_codec
from gossipfl.errors import CorruptCheckpoint, SettingError, UnknownCodec
from gossipfl.files import named_errors
from gossipfl.network import NetworkLimits, parse_address
from gossipfl.network.identity import KEY_FILE
from gossipfl.outgoing import Pipeline, pipeline_of
from gossipfl.peer.descriptors import room_for_connections
from gossipfl.peer.gossip.events import State
from gossipfl.peer.gossip.plan import GossipPlan
from gossipfl.peer.store.checkpoint import Checkpoint, load_checkpoint
from gossipfl.peer.store.home import Home
from gossipfl.rounds import RoundsPlan
from gossipfl.settings import PeerSettings
from gossipfl.settings.codec_names import AUTO
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.summary import DataSummary, summarise
from gossipfl.training import NodeData, Nodes, Trainer, rehearse
from gossipfl.wire import Expectation, PeerDescriptor

__all__ = [
    "bootstrap_peers",
    "checkpoint_of",
    "expectation_in",
    "expectation_of",
    "first_state",
    "neighbour_generator",
    "network_limits",
    "nodes_reader",
    "outgoing_of",
    "resumed_state",
    "trainer_of",
    "tried_data",
    "warn_of_lost_identity",
    "warn_of_threads",
]

logger = logging.getLogger(__name__)

_MOST_IN_ROUNDS = 1_000_000_000
_LEAST_ROWS = 2.5  # one that arrives and one that is merged, either of them once more in half precision


def warn_of_threads(threads: int) -> None:
    """Warn if torch is to use more threads than there are cores, which slows it down."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads > cores:
        logger.warning(
            "runtime.threads is %d, but this process may use %d core%s: lower it",
            threads,
            cores,
            "" if cores == 1 else "s",
        )


def warn_of_lost_identity(home: Home) -> None:
    """Warn if the key of a peer with a checkpoint is missing, so that it will start as a different peer."""
    key = home.directory / KEY_FILE
    with named_errors(f"cannot look into the home {home.directory}"):
        lost = home.checkpoint.exists() and not key.exists()
    if lost:
        logger.warning(
            "%s has a checkpoint but no key: a new key is created, and others will see a different peer. If "
            "they name this one in bootstrap or allow, stop it and restore %s from a backup",
            home.directory,
            key.name,
        )


def trainer_of(task: Task, data: Dataset, settings: PeerSettings) -> Trainer:
    """Return the trainer for this peer's own data.

    Raises
    ------
    InvalidTask
        The model or the loss fails on the data.
    """
    own = NodeData.of_one_node(data.train_inputs, data.train_targets, number=settings.runtime.number)
    return Trainer.of(task, own, settings.training)


def tried_data(task: Task, settings: PeerSettings) -> DataSummary:
    """Read this peer's data, try a training step and an evaluation on them, and summarise them.

    Raises
    ------
    InvalidTask
        The data cannot be read, or training or evaluation fails.
    """
    data = task.dataset()
    rehearse(task, trainer_of(task, data, settings), data.test_inputs, data.test_targets)
    return summarise(data)


def first_state(task: Task, trainer: Trainer, settings: PeerSettings) -> State:
    """Return the state before any training."""
    row = task.initial_row(settings.runtime.number)
    return State(nodes=Nodes.start(row[None], optimiser_state_size=trainer.optimiser_state_size))


def checkpoint_of(home: Home, task: Task, trainer: Trainer, *, rounds: str | None) -> Checkpoint | None:
    """Return the checkpoint of a home, if there is one.

    Raises
    ------
    CorruptCheckpoint
        It is damaged, belongs to another task, or was made by another algorithm for rounds or by gossip.
    """
    if not home.checkpoint.exists():
        return None
    checkpoint = load_checkpoint(home.checkpoint, task, optimiser_state_size=trainer.optimiser_state_size)
    if checkpoint.rounds != rounds:
        raise CorruptCheckpoint(
            f"the checkpoint {home.checkpoint} was made by a different kind of learning",
            expected=rounds or "gossip",
            got=checkpoint.rounds or "gossip",
            remedy="Use the settings it was made with, or another --home.",
        )
    return checkpoint


def nodes_reader(task: Task, trainer: Trainer) -> Callable[[Path], Nodes]:
    """Return a function that reads the nodes of a checkpoint."""

    def read(checkpoint: Path) -> Nodes:
        return load_checkpoint(checkpoint, task, optimiser_state_size=trainer.optimiser_state_size).nodes

    return read


def resumed_state(checkpoint: Checkpoint) -> State:
    """Return the state that was saved."""
    return State(nodes=checkpoint.nodes, event=checkpoint.event, merges_pending=checkpoint.merges_pending)


def neighbour_generator(settings: PeerSettings, peer_id: str) -> np.random.Generator:
    """Return the generator for choosing neighbours: one stream for each seed and identity.

    The identity matters because peers with the same settings must not make the same choices.
    """
    seeds = np.random.SeedSequence((settings.runtime.seed, int.from_bytes(peer_id.encode())))
    return np.random.Generator(np.random.PCG64(seeds))


def outgoing_of(settings: PeerSettings, task: Task) -> Pipeline:
    """Return the pipeline for outgoing rows; its codec is None if one is chosen for each neighbour.

    Raises
    ------
    SettingError
        The codec would change models of this size too much.
    """
    try:
        in_rounds = settings.rounds.algorithm is not None  # all members know the codec before any frame
        if settings.codec == AUTO:
            return pipeline_of(settings.outgoing, codec=None)
        codec = model_codec(settings.codec, size=task.layout.shared_size, own=in_rounds)
    except UnknownCodec as error:
        raise SettingError(
            f"exchange.codec: {error.what}", expected=error.expected, got=error.got, remedy=error.remedy
        ) from None
    return pipeline_of(settings.outgoing, codec=codec)


def expectation_of(task: Task, *, gossip: GossipPlan | None = None) -> Expectation:
    """Return what a peer of this task accepts: its own layout, in any codec that preserves models.

    Parameters
    ----------
    gossip : GossipPlan, optional
        Plan of a peer that gossips.
    """
    return Expectation(
        task=task.fingerprint,
        layout=task.layout.digest if gossip is None else gossip.layout,
        size=task.layout.shared_size,
        codecs=tuple(CODECS.values()),
        find_codec=partial(model_codec, size=task.layout.shared_size),
        carried=() if gossip is None else gossip.carried,
        parts=None if gossip is None else gossip.part_form(task.layout.shared_size),
    )


def expectation_in(plan: RoundsPlan | GossipPlan, task: Task) -> Expectation:
    """Return what a peer expects of others' messages, in rounds or in gossip."""
    if isinstance(plan, RoundsPlan):
        return replace(expectation_of(task), rounds=plan.expectation())
    return expectation_of(task, gossip=plan)


def bootstrap_peers(settings: PeerSettings) -> list[PeerDescriptor]:
    """Return the peers to ask first, each with all addresses that the settings give for it."""
    addresses: dict[str, list[str]] = {}
    for address in settings.network.bootstrap:
        addresses.setdefault(str(parse_address(address).peer_id), []).append(address)
    return [
        PeerDescriptor(peer_id=peer_id, addresses=tuple(own), age=1) for peer_id, own in addresses.items()
    ]


def network_limits(settings: PeerSettings, *, row_bytes: int) -> NetworkLimits:
    """Return the limits on others' use of this peer.

    Parameters
    ----------
    row_bytes : int
        Memory of what a message of another peer holds.

    Raises
    ------
    SettingError
        Limits contradict each other, or the process may open too few files.
    """
    network = settings.network
    connections = room_for_connections(network.connections)
    # In rounds all neighbours' rows are waited for, and none is refused in favour of another.
    in_rounds = settings.rounds.algorithm is not None
    least = _MOST_IN_ROUNDS if in_rounds else settings.exchange.incoming_bytes
    return NetworkLimits(
        connections=connections,
        connections_per_address=min(network.connections_per_address, connections),
        inbound_bytes=max(least, int(_LEAST_ROWS * row_bytes)),
        frames_per_second=network.frames_per_second,
        bytes_per_second=network.bytes_per_second,
        dial_seconds=network.dial_seconds,
        exchange_seconds=settings.exchange.deadline,
        keepalive_seconds=network.silence_seconds / 3,
        silence_seconds=network.silence_seconds,
    )
