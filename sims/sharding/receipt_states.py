"""States of gates and hostile nodes in shards as one: what receivers remember, and what liars do."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sims.engine.engine import Arrays
from sims.engine.receiving import RECEIPTS
from sims.errors import NotSimulable
from topology.parsing import json_of

__all__ = ["divided_receipts", "joined_receipts"]

Ints = NDArray[np.int64]
_MEMORY, _SAMPLES, _LENGTHS = (f"{RECEIPTS}{name}" for name in ("memory", "samples", "lengths"))
_LIES = f"{RECEIPTS}lies."


def joined_receipts(states: Sequence[Arrays], members: Sequence[Ints], hostile: Sequence[Ints]) -> Arrays:
    """One state of those of all shards, without what is at places of their tables.

    Parameters
    ----------
    states : sequence of dict
    members : sequence of ndarray
        Numbers of each shard's nodes.
    hostile : sequence of ndarray
        Which of the hostile nodes are each shard's.
    """
    if _MEMORY not in states[0]:
        return {}
    every = [_Memories.of(state) for state in states]
    nodes = {
        int(number): each
        for shard, memories in zip(members, every, strict=True)
        for number, each in zip(shard, memories.nodes, strict=False)  # without a gate there are none
    }
    counts = sum((memories.counts for memories in every), Counter[str]())
    refused = sum(memories.refused for memories in every)
    found = _Memories([nodes[number] for number in sorted(nodes)], counts, refused).state(states[0])
    lies = {name: array for state in states for name, array in state.items() if name.startswith(_LIES)}
    for name, first in lies.items():
        found[name] = np.zeros_like(first)
        for state, own in zip(states, hostile, strict=True):
            if name in state:  # elsewhere nobody has begun
                found[name][own] = state[name][own]
    return found


def divided_receipts(state: Arrays, members: Sequence[Ints]) -> list[Arrays]:
    """The state of each shard, of that of all; liars are known to all, and change where they are."""
    if _MEMORY not in state:
        return [{} for _ in members]
    whole = _Memories.of(state)
    lies = {name: array for name, array in state.items() if name.startswith(_LIES)}
    parts = []
    for shard, numbers in enumerate(members):
        nodes = [whole.nodes[number] for number in numbers] if whole.nodes else []
        counts, refused = (whole.counts, whole.refused) if shard == 0 else (Counter[str](), 0)
        parts.append({**_Memories(nodes, counts, refused).state(state), **lies})
    return parts


class _Memories:
    """What gatekeepers remember: of each node values of JSON and arrays, and counts of all decisions."""

    def __init__(
        self, nodes: list[tuple[Any, list[NDArray[np.generic]]]], counts: Counter[str], refused: int
    ) -> None:
        self.nodes, self.counts, self.refused = nodes, counts, refused

    @classmethod
    def of(cls, state: Arrays) -> _Memories:
        """Read a state."""
        found = json_of(state[_MEMORY].tobytes())
        if "samples" not in found:
            raise NotSimulable(
                "the checkpoint is of an earlier version, which kept the memories of all nodes' gates together",
                remedy="Continue it on one machine, without --shards.",
            )
        arrays = np.split(state[_SAMPLES], np.cumsum(state[_LENGTHS].astype(np.int64))[:-1])
        ends = np.cumsum([0, *found["samples"]])
        nodes = [
            (memory, arrays[first:end])
            for memory, first, end in zip(found["memories"], ends[:-1], ends[1:], strict=True)
        ]
        return cls(nodes, Counter(found["counts"]), found["refused"])

    def state(self, like: Arrays) -> Arrays:
        """Write a state, with numbers as in another."""
        text = {
            "memories": [memory for memory, _ in self.nodes],
            "samples": [len(arrays) for _, arrays in self.nodes],
            "counts": self.counts,
            "refused": self.refused,
        }
        arrays = [each for _, own in self.nodes for each in own]
        return {
            _MEMORY: np.frombuffer(json.dumps(text).encode(), dtype=np.uint8),
            _SAMPLES: np.concatenate([like[_SAMPLES][:0], *arrays]),
            _LENGTHS: np.array([len(each) for each in arrays], dtype=np.int64),
        }
