"""What peers of a network of rounds agree on before the first of them, and what follows from it for one peer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from gossipfl.algorithms import Links, RoundAlgorithm
from gossipfl.algorithms.registry import digest_of, make_algorithm
from gossipfl.codecs import FLOAT32, Codec
from gossipfl.errors import SettingError
from gossipfl.outgoing import IN_FULL, Pipeline
from gossipfl.peer.rounds.message_shapes import ExchangeForm, forms_of
from gossipfl.peer.rounds.roster import Roster, read_roster
from gossipfl.settings import PeerSettings
from gossipfl.training import Trainer
from gossipfl.wire import RoundForm, RoundsExpectation

if TYPE_CHECKING:
    from topology.graphs import Topology
    from topology.sequences import MixingSequence

__all__ = ["Mixing", "RoundsPlan", "plan_of"]

_ROUNDS_IN_DIGEST = 8


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Who mixes with whom in which round.

    Parameters
    ----------
    sequence : MixingSequence
    groups : tuple of int or None
        Clique of each member, where the topology has cliques.
    """

    sequence: MixingSequence
    groups: tuple[int, ...] | None = None

    def row(self, position: tuple[int, int], form: ExchangeForm, number: int) -> dict[int, float]:
        """What a member averages in an exchange: by number the weight of each, its own included."""
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


@dataclass(frozen=True, kw_only=True)
class RoundsPlan:
    """All that one peer knows of the rounds to come.

    Parameters
    ----------
    name : str
        Of the algorithm.
    algorithm : RoundAlgorithm
    mixing : Mixing
    roster : Roster
    number : int
        The peer's own.
    seed : int
        Of what the algorithm draws.
    outgoing : Pipeline
        What is done to rows on their way out, with the codec of what the algorithm does not compress.
    forms : tuple of ExchangeForm
        What is sent in each exchange of a round.
    agreement : bytes, length 32
        Digest of all that must be the same at all members.
    """

    name: str
    algorithm: RoundAlgorithm
    mixing: Mixing
    roster: Roster
    number: int
    seed: int
    outgoing: Pipeline
    forms: tuple[ExchangeForm, ...]
    agreement: bytes

    @property
    def pushes(self) -> bool:
        """Whether rows carry mass that must not be lost: column sums are one, not row sums."""
        return self.algorithm.requirements.stochastic == "columns"

    def codec_of(self, form: ExchangeForm) -> Codec:
        """How the rows of an exchange are written."""
        return form.compressor or self.outgoing.codec or FLOAT32

    def links(self, round_number: int) -> Links | None:
        """The peer's ends of a round's links, of an algorithm that sends another message over each."""
        return links_of(self.algorithm, self.mixing, round_number, self.number)

    def expectation(self) -> RoundsExpectation:
        """What this peer accepts from others."""
        return RoundsExpectation(
            agreement=self.agreement,
            forms=tuple(
                RoundForm(size=self.outgoing.width(form.size), codecs=(self.codec_of(form),))
                for form in self.forms
            ),
        )


def plan_of(
    settings: PeerSettings,
    *,
    peer_id: str,
    trainer: Trainer,
    outgoing: Pipeline,
) -> RoundsPlan:
    """Make one peer's plan from its settings.

    Parameters
    ----------
    settings : PeerSettings
        With ``rounds.algorithm`` and the roster in them; see `in_rounds`.
    peer_id : str
        Its own.
    trainer : Trainer
        Its own.
    outgoing : Pipeline
        With a codec.

    Raises
    ------
    SettingError
        If the roster, the algorithm or the topology is wrong, they do not fit, or a library is missing.
    """
    rounds = settings.rounds
    assert rounds.algorithm is not None  # noqa: S101  (the caller's reason to ask)
    roster = read_roster(rounds, directory=Path())
    number = roster.number_of(peer_id)
    algorithm = make_algorithm(
        rounds.algorithm,
        rounds.parameters,
        kind="rounds",
        directory=settings.runtime.modules,
        key="rounds.parameters",
    )
    mixing = mixing_of(
        rounds.algorithm, algorithm, rounds.topology, settings, members=len(roster), outgoing=outgoing
    )
    links = links_of(algorithm, mixing, 0, number)
    forms = forms_of(rounds.algorithm, algorithm, trainer, links=links)
    agreed = {
        "algorithm": digest_of(algorithm, rounds.algorithm),
        "topology": mixing.sequence.name,
        "matrices": _structure(mixing),
        "roster": roster.members,
        "seed": rounds.seed,
        "outgoing": _agreed_names(outgoing),
        "forms": [form.described() for form in forms],
    }
    return RoundsPlan(
        name=rounds.algorithm,
        algorithm=algorithm,
        mixing=mixing,
        roster=roster,
        number=number,
        seed=rounds.seed,
        outgoing=outgoing,
        forms=forms,
        agreement=hashlib.sha256(json.dumps(agreed, sort_keys=True).encode()).digest(),
    )


def mixing_of(
    name: str,
    algorithm: RoundAlgorithm,
    expression: str | None,
    settings: PeerSettings,
    *,
    members: int,
    outgoing: Pipeline = IN_FULL,
) -> Mixing:
    """Make the mixing sequence, and refuse by name what the algorithm is not defined for.

    Raises
    ------
    SettingError
    """
    requirements = algorithm.requirements
    if algorithm.simulator_only is not None:
        raise SettingError(
            f"{name} is not for peers: {algorithm.simulator_only}",
            remedy="`gossipfl algorithms list` shows those that are; `gossipfl sim` runs this one.",
        )
    try:
        from gossipfl.algorithms.requirements import unmet
        from topology.catalogue import build
        from topology.errors import TopologyError
        from topology.sequences import pushed
    except ModuleNotFoundError as error:
        raise SettingError(
            f"rounds need {error.name}, which is not installed",
            remedy="Install it: pip install 'gossipfl[topology]'.",
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


def _agreed_names(outgoing: Pipeline) -> list[str]:
    """What both ends must know to read a row; how much it was clipped or blurred is the sender's affair."""
    mask, codec = outgoing.mask, outgoing.codec
    return [each.name for each in (mask, codec) if each is not None]


def _structure(mixing: Mixing) -> str:
    """Digest of who mixes with whom: equal expressions may name other graphs in other versions of a library."""
    digest = hashlib.sha256()
    for t in range(min(mixing.sequence.period or _ROUNDS_IN_DIGEST, _ROUNDS_IN_DIGEST)):
        W = mixing.sequence.matrix(t)
        for array in (W.indptr, W.indices):
            digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    digest.update(json.dumps(mixing.groups).encode())
    return digest.hexdigest()
