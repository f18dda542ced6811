"""Receipts of messages in a simulation: what a gate lets in of each model, at many nodes at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import Message
from gossipfl.algorithms.gate import (
    Admission,
    Claim,
    Gatekeeper,
    Losses,
    LossProbes,
    admit_together,
    as_let_in,
)
from gossipfl.algorithms.in_transit import as_received
from gossipfl.codecs.draws import receipt_keys
from gossipfl.outgoing import Draws
from gossipfl.settings.gate import GateSettings
from gossipfl.training import Nodes
from gossipfl.training.nodes import before_rest
from sims.errors import InvalidScenario
from sims.world.lies import Lies, lies_of
from sims.world.world import World
from topology.parsing import json_of

__all__ = ["Arrivals", "Receipts", "Received", "receipts_of"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages that arrive at B different nodes.

    Parameters
    ----------
    receivers : ndarray
        Which of the nodes that are here, int64 ``[B]``.
    senders : ndarray
        Numbers of nodes in the network, int64 ``[B]``.
    versions : ndarray
        Number of changes of the sender's model before it was sent, int64 ``[B]``.
    are_answers : ndarray
        Whether the receiver had asked for it, bool ``[B]``.
    seconds : ndarray
        When each arrives, since the start, float64 ``[B]``.
    parts : ndarray
        As drawn for each message, int64 ``[B]``.
    are_lies : ndarray
        Whether it is from a hostile node that lies, bool ``[B]``.
    """

    receivers: Ints
    senders: Ints
    versions: Ints
    are_answers: Bools
    seconds: NDArray[np.float64]
    parts: Ints
    are_lies: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Messages as they are merged.

    Parameters
    ----------
    message : Message
        B messages.
    is_merged : ndarray
        False where the model was refused, bool ``[B]``.
    is_trained_on : ndarray
        Whether the merge may set the pace of training, bool ``[B]``.
    """

    message: Message
    is_merged: Bools
    is_trained_on: Bools


class Receipts:
    """Messages of all nodes, between their arrival and their merge.

    Each node has a gatekeeper of its own, the same as a peer's. What it remembers depends on the order in which
    its messages arrive, and on nothing that happens at other nodes.

    Parameters
    ----------
    world : World
    gate : GateSettings, optional
        Without one, all models are merged as they come.
    lies : Lies, optional
        What hostile nodes say, if there are any.
    neighbours : ndarray
        Number of neighbours of each node of the network, int64 ``[N]``.
    """

    def __init__(
        self, world: World, *, gate: GateSettings | None, lies: Lies | None, neighbours: Ints
    ) -> None:
        self._world, self.lies = world, lies
        self._numbers: Ints = np.asarray(world.trainer.data.numbers)
        self._neighbours = neighbours[self._numbers]
        self._gatekeepers = [] if gate is None else [Gatekeeper(gate) for _ in self._numbers]
        self._probes = LossProbes(
            world.task,
            world.trainer.data,
            world.first_rows(),
            samples=0 if gate is None else gate.loss_samples,
        )
        self.counts: Counter[str] = Counter()
        self.refused = 0

    def __call__(self, nodes: Nodes, message: Message, arrivals: Arrivals) -> Received:
        """Receive one message at each of B nodes.

        Parameters
        ----------
        nodes : Nodes
            The receivers, as they are when it arrives.
        message : Message
            As its sender made it, before `World.message_outgoing`.
        arrivals : Arrivals
        """
        outgoing = self._world.message_outgoing
        if not outgoing.is_lossless:
            receivers = torch.from_numpy(self._numbers[arrivals.receivers])
            keys = receipt_keys(torch.from_numpy(arrivals.parts), receivers)
            message = as_received(message, outgoing, Draws(keys=keys))
        if self.lies is not None:
            self.lies.hear(self._numbers[arrivals.receivers], arrivals.senders, message.shared)
        if not self._gatekeepers:
            everybody = np.ones(len(nodes), dtype=bool)
            return Received(message=message, is_merged=everybody, is_trained_on=everybody)
        admissions = self._admitted(nodes, message, arrivals)
        self.counts.update(each.reason for each in admissions)
        self.refused += sum(each.is_refusal for each in admissions)
        return Received(
            message=as_let_in(message, nodes.rows, admissions),
            is_merged=np.array([not each.is_refusal for each in admissions]),
            is_trained_on=np.array([not (each.is_refusal or each.is_surplus) for each in admissions]),
        )

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return all that gatekeepers remember, as named arrays, for a checkpoint."""
        samples: list[list[Tensor]] = [[] for _ in self._gatekeepers]
        memories = [each.memory(own) for each, own in zip(self._gatekeepers, samples, strict=True)]
        told = {"memories": memories, "samples": [len(own) for own in samples]}
        text = json.dumps({**told, "counts": self.counts, "refused": self.refused})
        numbers = [each.numpy() for own in samples for each in own]
        return {
            "memory": np.frombuffer(text.encode(), dtype=np.uint8),
            "samples": np.concatenate([np.zeros(0, numbers[0].dtype) if numbers else np.zeros(0), *numbers]),
            "lengths": np.array([len(each) for each in numbers], dtype=np.int64),
            **({} if self.lies is None else self.lies.state()),
        }

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Continue from a value of `state`."""
        found = json_of(state["memory"].tobytes())
        samples = torch.split(torch.from_numpy(state["samples"]), state["lengths"].tolist())
        # Before there were shards, places were among the samples of all nodes.
        ends = np.cumsum(found["samples"]).tolist() if "samples" in found else None
        for node, (gatekeeper, memory) in enumerate(zip(self._gatekeepers, found["memories"], strict=True)):
            first = 0 if ends is None or not node else ends[node - 1]
            gatekeeper.remember(memory, samples[first : None if ends is None else ends[node]])
        self.counts, self.refused = Counter(found["counts"]), found["refused"]
        if self.lies is not None:
            self.lies.restore(state)

    def _admitted(self, nodes: Nodes, message: Message, arrivals: Arrivals) -> list[Admission]:
        sharing = self._world.message_algorithm.behaviour.sharing
        own_ages, ages = (_oldest(each) for each in (nodes.ages, message.ages))
        claims = [
            Claim(
                sender=int(arrivals.senders[b]),
                own_age=own_ages[b],
                age=ages[b],
                now=float(arrivals.seconds[b]),
                # A liar calls all its models new.
                version=None if arrivals.are_lies[b] else (0, int(arrivals.versions[b])),
                part=None if sharing.kind == "whole" else int(arrivals.parts[b]),
                is_answer=bool(arrivals.are_answers[b]),
                neighbours=int(self._neighbours[arrivals.receivers[b]]),
            )
            for b in range(len(ages))
        ]
        gatekeepers = [self._gatekeepers[node] for node in arrivals.receivers]
        own, found = nodes.rows[:, : message.size], [None] * len(claims)
        if sharing.kind == "whole":
            losses = self._losses(nodes, arrivals.receivers)
            return admit_together(gatekeepers, claims, own=own, received=message.shared, losses=losses)
        admitted: list[Admission | None] = list(found)
        for part in np.unique(arrivals.parts):
            members = np.flatnonzero(arrivals.parts == part).tolist()
            some, number = nodes.select(torch.tensor(members)), int(part)
            came = admit_together(
                [gatekeepers[b] for b in members],
                [claims[b] for b in members],
                own=sharing.numbers(own[members], number),
                received=sharing.numbers(message.shared[members], number),
                losses=self._losses(some, arrivals.receivers[members], part=number),
            )
            for b, admission in zip(members, came, strict=True):
                admitted[b] = admission
        return [each for each in admitted if each is not None]

    def _losses(self, nodes: Nodes, receivers: Ints, *, part: int = 0) -> Losses | None:
        if not self._probes.samples:
            return None
        sharing, size = self._world.message_algorithm.behaviour.sharing, self._world.layout.shared_size

        def losses(numbers: Tensor, places: Sequence[int]) -> tuple[list[float], list[float]]:
            whole = nodes.rows[list(places)]
            rows = before_rest(sharing.filled(whole[:, :size], part, numbers), whole)
            found = self._probes.losses(receivers[list(places)], rows)
            return found, self._probes.initial(receivers[list(places)])

        return losses


def receipts_of(world: World, *, indptr: Ints) -> Receipts | None:
    """Receipts of a scenario; None if its messages are merged as they were sent.

    Parameters
    ----------
    world : World
    indptr : ndarray
        Of the neighbour lists, int64 ``[N + 1]``; empty for the complete graph.

    Raises
    ------
    InvalidScenario
        The algorithm cannot have a gate.
    NotSimulable
        The attack is not one on messages.
    """
    gate, lies = _gate_of(world), lies_of(world)
    if gate is None and lies is None:
        return None
    nodes = world.scenario.population.nodes
    neighbours = np.diff(indptr) if len(indptr) else np.full(nodes, nodes - 1, dtype=np.int64)
    return Receipts(world, gate=gate, lies=lies, neighbours=neighbours)


def _gate_of(world: World) -> GateSettings | None:
    gate, algorithm = world.scenario.gate, world.message_algorithm
    if gate is None or not gate.enabled:
        return None
    if algorithm.behaviour.lost == "returned":
        raise InvalidScenario(
            "gate: a model that is refused would be mass that is lost",
            expected="an algorithm whose lost models are lost, such as gossip_learning or ad_psgd",
            got=world.scenario.algorithm.name,
        )
    return gate


def _oldest(ages: Tensor) -> list[int]:
    found: list[int] = (ages if ages.dim() == 1 else ages.amax(dim=1)).tolist()
    return found
