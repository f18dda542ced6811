"""States of shards as one: a checkpoint of shards is that of a run on one machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.algorithms import Links
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.training import Nodes
from sims.engine.engine import Arrays
from sims.engine.neighbourhoods import Sparse
from sims.running.message_driven import TIMELINE
from sims.running.round_based import ATTACK, AUXILIARY, CLOCK, FAILED_SUMS, OPTIMISER_STATE
from sims.sharding.messages import AT_PLACES, SLOTS
from sims.sharding.partition import Partition
from sims.sharding.receipt_states import divided_receipts, joined_receipts
from sims.world import World
from sims.world.networks import RoundNetwork

__all__ = ["MessageStates", "RoundStates", "States"]

Ints = NDArray[np.int64]
_PROGRESS = "progress"
_UPDATES = "updates"
_OF_NODES = ("rows", "ages", "steps", OPTIMISER_STATE)


class States(Protocol):
    """States of shards, divided and put together."""

    def joined(self, states: Sequence[Arrays]) -> Arrays:
        """One state of those of all shards."""
        ...

    def divided(self, state: Arrays) -> list[Arrays]:
        """The state of each shard, of that of all."""
        ...


class RoundStates:
    """States of simulations in rounds, divided and put together.

    Parameters
    ----------
    world : World
    network : RoundNetwork
    partition : Partition
    """

    def __init__(self, world: World, network: RoundNetwork, partition: Partition) -> None:
        shards = range(partition.shards)
        self._members = [partition.members(each) for each in shards]
        holders = partition.shard[~world.honest]
        self._hostile = [np.flatnonzero(holders == each) for each in shards]
        self._ends: list[Ints] = []
        self._of_links: set[str] = set()
        algorithm = world.scenario.algorithm.of_rounds(world.layout)
        if algorithm.requirements.links:
            degrees = Sparse(network.sequence.matrix(0)).degrees
            holders = partition.shard[np.repeat(np.arange(len(degrees)), degrees)]
            self._ends = [np.flatnonzero(holders == each) for each in shards]
            # Two nodes with three link ends show which of the arrays are of these.
            none = torch.zeros(3, dtype=torch.int64)
            links = Links(owner=none, neighbours=none, weights=none.double())
            two = Nodes.start(
                world.first_rows()[:1].expand(2, -1), optimiser_state_size=world.trainer.optimiser_state_size
            )
            started = start_nodes(algorithm, two, shared_size=world.layout.shared_size, links=links)
            self._of_links = {AUXILIARY + name for name, kept in started.auxiliary.items() if len(kept) == 3}

    def joined(self, states: Sequence[Arrays]) -> Arrays:
        """One state of those of all shards."""
        found: Arrays = {}
        some = {name: array for state in states for name, array in state.items()}
        for name in {**states[0], **some}:
            first = states[0].get(name, some[name])
            if name == _PROGRESS:  # the round, and numbers of messages, bytes and updates
                counted = sum(state[name][1:] for state in states)
                found[name] = np.concatenate([first[:1], counted])
                continue
            if name == FAILED_SUMS:
                found[name] = np.array(sum(int(state[name]) for state in states))
                continue
            if name.startswith(CLOCK):  # every shard has that of the whole network
                found[name] = first
                continue
            places = self._places(name)
            whole = np.empty((sum(map(len, places)), *first.shape[1:]), dtype=first.dtype)
            for state, mine in zip(states, places, strict=True):
                if name in state:  # what an attack remembers is only where there are hostile nodes
                    whole[mine] = state[name]
            found[name] = whole
        return found

    def divided(self, state: Arrays) -> list[Arrays]:
        """The state of each shard, of that of all."""
        parts: list[Arrays] = [{} for _ in self._members]
        for name, whole in state.items():
            if name == _PROGRESS:
                for shard, part in enumerate(parts):
                    part[name] = whole if shard == 0 else np.concatenate([whole[:1], 0 * whole[1:]])
                continue
            if name == FAILED_SUMS:
                for shard, part in enumerate(parts):
                    part[name] = whole if shard == 0 else 0 * whole
                continue
            if name.startswith(CLOCK):
                for part in parts:
                    part[name] = whole
                continue
            if name not in _OF_NODES and not name.startswith((AUXILIARY, ATTACK)):
                continue  # of the records
            for part, mine in zip(parts, self._places(name), strict=True):
                part[name] = whole[mine]
        return parts

    def _places(self, name: str) -> list[Ints]:
        if name.startswith(ATTACK):
            return self._hostile
        return self._ends if name in self._of_links else self._members


class MessageStates:
    """States of message-driven simulations: rows of nodes, and snapshots that are on their way.

    One machine has a snapshot in the slot whose number all shards know it by.

    Parameters
    ----------
    world : World
    partition : Partition
    """

    def __init__(self, world: World, partition: Partition) -> None:
        self._members = [partition.members(each) for each in range(partition.shards)]
        self._n = len(partition.shard)
        holders = partition.shard[~world.honest]
        self._hostile = [np.flatnonzero(holders == each) for each in range(partition.shards)]

    def joined(self, states: Sequence[Arrays]) -> Arrays:
        """One state of those of all shards."""
        # A timeline goes on in the same arrays.
        found = {name: np.array(array) for name, array in states[0].items() if name.startswith(TIMELINE)}
        snapshots = len(states[0][f"{SLOTS}holders"])
        for name, length in (
            ("rows", self._n + 1 + snapshots),
            ("ages", self._n + 1 + snapshots),
            ("kept", self._n + 1),
            ("steps", self._n),
            *((name, self._n + 1 + snapshots) for name in sorted(AT_PLACES & states[0].keys())),
        ):
            first = states[0][name]
            whole = np.zeros((length, *first.shape[1:]), dtype=first.dtype)
            for state, members in zip(states, self._members, strict=True):
                whole[members] = state[name]
                if length > self._n + 1:
                    whole[self._n + 1 + state[f"{SLOTS}held"]] = state[SLOTS + name]
            found[name] = whole
        return {
            "versions": np.zeros(self._n + 1 + snapshots, dtype=np.int64),
            **found,
            **joined_receipts(states, self._members, self._hostile),
            _UPDATES: np.sum([state[_UPDATES] for state in states], axis=0),
        }

    def divided(self, state: Arrays) -> list[Arrays]:
        """The state of each shard, of that of all; snapshots are dealt out in turn."""
        count = len(state["rows"]) - self._n - 1
        holders = np.arange(count) % len(self._members)
        timeline = {name: array for name, array in state.items() if name.startswith(TIMELINE)}
        parts, receipts = [], divided_receipts(state, self._members)
        at_places = {"rows", "ages", *(AT_PLACES & state.keys())}
        for shard, members in enumerate(self._members):
            held = np.flatnonzero(holders == shard)
            part = {name: state[name][members] for name in at_places | {"kept", "steps"}} | receipts[shard]
            part |= {SLOTS + name: state[name][self._n + 1 + held] for name in at_places}
            part |= {f"{SLOTS}held": held, f"{SLOTS}holders": holders}
            updates = state[_UPDATES] if shard == 0 else 0 * state[_UPDATES]
            parts.append({**timeline, **part, _UPDATES: updates})
        return parts
