"""The agreement of the members of a network of rounds before the first of them, as one member has it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gossipfl.algorithms import Links, RoundAlgorithm
from gossipfl.algorithms.for_peers import find_for_peers, require_in_peers
from gossipfl.algorithms.registry import digest_of, make_algorithm
from gossipfl.codecs import FLOAT32, Codec, Compressor
from gossipfl.codecs.registry import own_source
from gossipfl.outgoing import Pipeline
from gossipfl.rounds.message_shapes import ExchangeForm, forms_of
from gossipfl.rounds.mixing import Mixing, links_of, mixing_of, structure_of
from gossipfl.rounds.roster import Roster, read_roster
from gossipfl.rounds.steps import Step, first_step, steps_of
from gossipfl.rounds.sums import RING_ROWS, require_summable
from gossipfl.secure import FixedPoint, Session
from gossipfl.settings import PeerSettings
from gossipfl.training import Trainer
from gossipfl.wire import RoundForm, RoundsExpectation

__all__ = ["Position", "RoundsPlan", "plan_of", "round_algorithm"]

Position = tuple[int, int]
"""A round, and an exchange of it."""


@dataclass(frozen=True, kw_only=True)
class RoundsPlan:
    """Everything a peer knows about the rounds in advance.

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
        Seed of the algorithm's draws.
    outgoing : Pipeline
        Pipeline of outgoing rows, with the codec of those that the algorithm does not compress.
    forms : tuple of ExchangeForm
        Form of the messages in each exchange of a round.
    agreement : bytes, length 32
        Digest of everything that must be the same for all members.
    ring : FixedPoint, optional
        Numbers of masked sums; None if members send each other their rows.
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
    ring: FixedPoint | None = None

    @property
    def pushes(self) -> bool:
        """Whether rows carry mass that must not be lost: column sums are one, not row sums."""
        return self.algorithm.requirements.stochastic == "columns"

    def codec_of(self, form: ExchangeForm) -> Codec:
        """How the rows of an exchange are written."""
        if self.ring is not None:
            return RING_ROWS
        return form.compressor or self.outgoing.codec or FLOAT32

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The messages of a round, in order; their numbers are those of exchanges on the wire."""
        return steps_of(self.forms, thinned=self.outgoing.mask is not None)

    def on_the_wire(self, position: Position) -> Position:
        """The first step of an exchange."""
        return position[0], first_step(self.steps, position[1])

    def previews(self, exchange: int) -> bool:
        """Whether rows of an exchange are sent to those alone who ask for them."""
        return any(step.what == "wish" for step in self.steps if step.exchange == exchange)

    def links(self, round_number: int) -> Links | None:
        """The peer's ends of a round's links, of an algorithm that sends another message over each."""
        return links_of(self.algorithm, self.mixing, round_number, self.number)

    def session(self, position: Position, receiver: int) -> Session:
        """The masked sum of an exchange at one member.

        Raises
        ------
        SummandsExposed
            It has fewer than 3 neighbours in this round.
        """
        neighbours = self.mixing.neighbours(position[0], self.forms[position[1]], receiver)
        return Session(
            agreement=self.agreement,
            round=position[0],
            exchange=position[1],
            receiver=receiver,
            neighbours=neighbours,
        )

    def expectation(self) -> RoundsExpectation:
        """The messages that this peer accepts from others."""
        return RoundsExpectation(
            agreement=self.agreement,
            forms=tuple(
                RoundForm(size=self.outgoing.width(step.size), codecs=(self.codec_of(step.form),))
                if step.what == "row"
                else RoundForm(size=step.size, codecs=(FLOAT32,))
                for step in self.steps
            ),
        )


def round_algorithm(settings: PeerSettings) -> RoundAlgorithm:
    """The round-based algorithm that settings name.

    Raises
    ------
    SettingError, InvalidAlgorithm
        If there is no algorithm of this name, a parameter is wrong, or peers cannot run it.
    """
    rounds, modules = settings.rounds, settings.runtime.modules
    assert rounds.algorithm is not None  # noqa: S101  (the caller's reason to ask)
    find_for_peers(rounds.algorithm, kind="rounds", directory=modules)
    algorithm = make_algorithm(
        rounds.algorithm, rounds.parameters, kind="rounds", directory=modules, key="rounds.parameters"
    )
    require_in_peers(rounds.algorithm, algorithm)
    return algorithm


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
    algorithm = round_algorithm(settings).for_members(len(roster))
    mixing = mixing_of(
        rounds.algorithm, algorithm, rounds.topology, settings, members=len(roster), outgoing=outgoing
    )
    links = links_of(algorithm, mixing, 0, number)
    forms = forms_of(rounds.algorithm, algorithm, trainer, links=links)
    ring = FixedPoint(largest=rounds.sums_range) if rounds.masked_sums else None
    if ring is not None:
        pushes = algorithm.requirements.stochastic == "columns"
        require_summable(rounds.algorithm, mixing, forms, outgoing, members=len(roster), pushes=pushes)
    agreed = {
        "algorithm": digest_of(algorithm, rounds.algorithm),
        "topology": mixing.sequence.name,
        "matrices": structure_of(mixing),
        "roster": roster.members,
        "seed": rounds.seed,
        "outgoing": _agreed_names(outgoing),
        "forms": [form.described() for form in forms],
        **({} if ring is None else {"masked_sums": [ring.bits, ring.fraction]}),
        **({"training": common} if (common := algorithm.common_training(settings.training)) else {}),
        **_own_codecs([outgoing.codec, *(form.compressor for form in forms)]),
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
        ring=ring,
    )


def _own_codecs(codecs: Sequence[Compressor | None]) -> dict[str, dict[str, str]]:
    """Digests of the sources of users' own codecs, by name."""
    sources = {each.name: own_source(each) for each in codecs if each is not None}
    digests = {
        name: hashlib.sha256(source.encode()).hexdigest()
        for name, source in sources.items()
        if source is not None
    }
    return {"codecs": digests} if digests else {}


def _agreed_names(outgoing: Pipeline) -> list[str]:
    """What both ends must know to read a row; how much it was clipped or blurred is the sender's affair."""
    mask, codec = outgoing.mask, outgoing.codec
    return [each.name for each in (mask, codec) if each is not None]
