"""Neighbours and weights of the members of a network of rounds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from gossipfl.algorithms import Links, RoundAlgorithm
from gossipfl.errors import SettingError
from gossipfl.extras import missing_library
from gossipfl.outgoing import IN_FULL, Pipeline
from gossipfl.rounds.message_shapes import ExchangeForm
from gossipfl.settings import PeerSettings

if TYPE_CHECKING:
    from topology.graphs import Topology
    from topology.sequences import MixingSequence

__all__ = ["Mixing", "links_of", "mixing_of", "structure_of"]

_ROUNDS_IN_DIGEST = 8


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """The mixing of each round.

    Parameters
    ----------
    sequence : MixingSequence
    groups : tuple of int or None
        Clique of each member, if the topology has cliques.
    """

    sequence: MixingSequence
    groups: tuple[int, ...] | None = None

    def row(self, position: tuple[int, int], form: ExchangeForm, number: int) -> dict[int, float]:
        """Weights of the rows that a member averages in an exchange, by number, including its own."""
        if form.over == "clique":
            clique = self._clique(number)
            return dict.fromkeys(clique, 1 / len(clique))
        nodes, weights = self.sequence.row(position[0], number)
        return {int(node): float(weight) for node, weight in zip(nodes, weights, strict=True)}

    def neighbours(self, round_number: int, form: ExchangeForm, number: int) -> tuple[int, ...]:
        """Whom a member hears from, in increasing order."""
        if form.over == "clique":
            return tuple(each for each in self._clique(number) if each != number)
        return tuple(int(each) for each in self.sequence.neighbours(round_number, number))

    def recipients(self, round_number: int, form: ExchangeForm, number: int) -> tuple[int, ...]:
        """Whom a member sends to, in increasing order."""
        if form.over == "clique":
            return self.neighbours(round_number, form, number)
        return tuple(int(each) for each in self.sequence.recipients(round_number, number))

    def _clique(self, number: int) -> list[int]:
        assert self.groups is not None  # noqa: S101  (required when the plan was made)
        return [each for each, group in enumerate(self.groups) if group == self.groups[number]]


def mixing_of(
    name: str,
    algorithm: RoundAlgorithm,
    expression: str | None,
    settings: PeerSettings,
    *,
    members: int,
    outgoing: Pipeline = IN_FULL,
) -> Mixing:
    """Build the mixing sequence, and refuse by name any mixing that the algorithm is not defined for.

    Raises
    ------
    SettingError
    """
    requirements = algorithm.requirements
    try:
        from gossipfl.algorithms.requirements import unmet
        from topology.catalogue import build
        from topology.errors import TopologyError
        from topology.sequences import pushed
    except ModuleNotFoundError as error:
        raise missing_library(
            "a network of rounds", f"{error.name}, which is not installed", extra="topology"
        ) from error
    graph: Topology | None = None
    try:
        own_sequence = algorithm.sequence(members, seed=settings.rounds.seed)
        if expression is None and own_sequence is not None:
            sequence: MixingSequence = own_sequence
        elif expression is None:
            raise SettingError(
                "rounds.topology is missing",
                expected=f"who mixes with whom, such as ring:{members} or one-peer-exponential:{members}",
                remedy="`gossipfl topology list` shows all.",
            )
        else:
            named = build(expression, implied={"n": members}, directory=settings.runtime.modules)
            sequence, graph = named.sequence, named.graph
        if requirements.stochastic == "columns" and sequence.stochastic == "rows":
            sequence = pushed(sequence)
    except (TopologyError, OSError) as error:
        raise SettingError(f"rounds.topology: {error}") from error
    if sequence.n != members:
        raise SettingError(
            f"rounds.topology: {sequence.name} has another number of nodes than the roster has members",
            expected=members,
            got=sequence.n,
        )
    groups = None if graph is None or graph.groups is None else tuple(int(each) for each in graph.groups)
    problem = unmet(
        name,
        requirements,
        sequence,
        cliques=groups is not None,
        training=settings.training,
        outgoing=outgoing,
    )
    if problem is not None:
        raise SettingError(problem.what, expected=problem.expected, remedy=problem.remedy)
    return Mixing(sequence=sequence, groups=groups)


def links_of(algorithm: RoundAlgorithm, mixing: Mixing, round_number: int, number: int) -> Links | None:
    """One member's ends of a round's links, in order of the neighbours; None if the algorithm uses none."""
    if not algorithm.requirements.links:
        return None
    nodes, weights = mixing.sequence.row(round_number, number)
    others = (nodes != number) & (weights != 0)
    return Links(
        owner=torch.zeros(int(others.sum()), dtype=torch.int64),
        neighbours=torch.from_numpy(nodes[others].astype(np.int64)),
        weights=torch.from_numpy(np.ascontiguousarray(weights[others], dtype=np.float64)),
    )


def structure_of(mixing: Mixing) -> str:
    """Digest of the mixing itself: equal expressions may denote different graphs in different library versions."""
    digest = hashlib.sha256()
    for t in range(min(mixing.sequence.period or _ROUNDS_IN_DIGEST, _ROUNDS_IN_DIGEST)):
        W = mixing.sequence.matrix(t)
        for array in (W.indptr, W.indices):
            digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    digest.update(json.dumps(mixing.groups).encode())
    return digest.hexdigest()
