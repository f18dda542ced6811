"""Rows of a scenario's run as the neighbours of their senders decode them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.algorithms import AnyExchange, LinkExchange, Mixed
from gossipfl.codecs.draws import receipt_keys
from gossipfl.outgoing import Draws
from gossipfl.training import NodeData
from sims.compiler.timeline import Timeline, conditions_of, ticks
from sims.engine import RoundEngine
from sims.engine.receiving import engine_of
from sims.privacy.errors import NotAccountable
from sims.scenario import Scenario
from sims.world import World
from sims.world.networks import RoundNetwork, neighbour_lists, round_network

__all__ = ["SentRows", "Setting", "setting_of"]

_APART = 1_000_003
_FEWEST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRows:
    """What nodes sent in one run.

    Parameters
    ----------
    rows : mapping of int to Tensor
        By round, ``[N, D]``: what is not sent of a model is as it was before training.
    world : World
        With the samples that were trained on.
    releases : int or None
        How many rows each node sent in all; None if nobody counted.
    steps : int or None
        How many training steps the busiest node did, likewise.
    """

    rows: Mapping[int, Tensor]
    world: World
    releases: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A scenario that is run again and again on other samples, over the same network.

    Parameters
    ----------
    world : World
        With all samples.
    network : RoundNetwork or None
        Of rounds.
    lists : tuple of ndarray or None
        Of neighbours, for message-driven algorithms.
    """

    world: World
    network: RoundNetwork | None
    lists: tuple[NDArray[np.int64], NDArray[np.int32]] | None

    @property
    def scenario(self) -> Scenario:
        """The scenario."""
        return self.world.scenario

    @property
    def rounds(self) -> int:
        """How many rounds a run has."""
        return int(np.ceil(self.scenario.stop.rounds))

    def neighbours(self, node: int) -> NDArray[np.int64]:
        """Nodes whose rows a node receives, in rounds in the last of them."""
        everybody = np.setdiff1d(np.arange(self.scenario.population.nodes), node)
        if self.network is not None:
            if self.network.complete:
                return everybody
            others = self.network.sequence.neighbours(self.rounds - 1, node)
            return np.asarray(others, dtype=np.int64)
        assert self.lists is not None  # noqa: S101 - one of the two
        indptr, indices = self.lists
        return indices[indptr[node] : indptr[node + 1]].astype(np.int64) if len(indptr) else everybody

    def run(
        self,
        *,
        included: NDArray[np.bool_] | None = None,
        seed: int = 0,
        kept: Collection[int],
        expected_runs: int = 1,
    ) -> SentRows:
        """Run the scenario once, and keep what was sent in some rounds.

        Parameters
        ----------
        included : ndarray, optional
            Which samples are trained on, in the order of ``world.trainer.data.indices``, bool ``[n]``.
        seed : int
            Of batches and of noise: another one gives another run of the same scenario.
        kept : collection of int
            Rounds; the last one only of message-driven algorithms.
        expected_runs : int
            How many runs there will be; decides whether compiling is worth it.

        Raises
        ------
        NotAccountable
            If a node has no sample left, or nodes do not send models to one another.
        """
        world = self._world(included, seed)
        if self.network is not None:
            return self._in_rounds(world, kept, expected_runs)
        return self._by_messages(world, seed, kept, expected_runs)

    def _world(self, included: NDArray[np.bool_] | None, seed: int) -> World:
        world, data = self.world, self.world.trainer.data
        if included is not None:
            parts = [
                data.indices[first:last][included[first:last]]
                for first, last in zip(data.offsets[:-1], data.offsets[1:], strict=True)
            ]
            if any(len(part) < _FEWEST for part in parts):
                raise NotAccountable(
                    "a node has too few samples to leave half of them out",
                    expected=f"at least {_FEWEST} left to train on",
                    got=min(map(len, parts)),
                    remedy="Use fewer nodes, or a task with more samples.",
                )
            data = NodeData.partitioned(data.inputs, data.targets, parts, numbers=data.numbers)
        training = world.scenario.training.model_copy(update={"seed": world.scenario.training.seed + seed})
        scenario = world.scenario.model_copy(
            update={"training": training, "seed": world.scenario.seed + seed * _APART}
        )
        trainer = replace(world.trainer, data=data, settings=training)
        return replace(world, scenario=scenario, trainer=trainer)

    def _in_rounds(self, world: World, kept: Collection[int], expected_runs: int) -> SentRows:
        assert self.network is not None  # noqa: S101 - the caller's choice
        engine = _Watched(world, self.network, expected_rounds=float(self.rounds * expected_runs))
        first, size = world.first_rows(), world.layout.shared_size
        found: dict[int, Tensor] = {}
        for number in range(self.rounds):
            sent = engine.sent_in_round()
            if number not in kept:
                continue
            if sent is None or sent.shape[1] < size:
                raise NotAccountable(
                    f"nodes with {world.scenario.algorithm.name!r} do not send their models to all neighbours",
                    remedy="Choose an algorithm such as d_psgd.",
                )
            if engine.algorithm.requirements.stochastic == "columns":  # a mass goes with the model
                sent = sent / sent[:, -1:]
            rows = first.expand(len(sent), -1).clone()
            rows[:, :size] = sent[:, :size]
            found[number] = rows
        engine.close()
        return SentRows(
            rows=found, world=world, releases=engine.releases, steps=int(engine.nodes.steps.max())
        )

    def _by_messages(self, world: World, seed: int, kept: Collection[int], expected_runs: int) -> SentRows:
        scenario, behaviour = world.scenario, world.message_algorithm.behaviour
        if (
            set(kept) != {self.rounds - 1}
            or behaviour.sharing.kind != "whole"
            or behaviour.lost == "returned"
        ):
            raise NotAccountable(
                "of message-driven algorithms the whole models that nodes send in the end are attacked",
                remedy="Choose gossip_learning without sharing, or an algorithm in rounds.",
            )
        assert self.lists is not None  # noqa: S101 - the caller's choice
        indptr, indices = self.lists
        timeline = Timeline(
            conditions_of(scenario, indptr=indptr, indices=indices, message_bytes=world.message_bytes)
        )
        engine = engine_of(
            world,
            indptr=indptr,
            expected_updates=scenario.population.nodes * scenario.stop.rounds * expected_runs,
        )
        for _ in engine.follow(timeline, ticks(scenario.stop.rounds * scenario.network.period)):
            pass
        rows, size = engine.rows().clone(), world.layout.shared_size
        steps = int(engine.state()["steps"].max())
        engine.close()
        everybody = torch.arange(len(rows))
        draws = Draws(keys=receipt_keys(everybody + (seed << 32), everybody))
        pipeline = world.message_outgoing
        shared = pipeline.transform(rows[:, :size], draws)
        rows[:, :size] = (
            shared if pipeline.codec is None else pipeline.codec.compress(shared, keys=draws.keys)
        )
        return SentRows(rows={self.rounds - 1: rows}, world=world, steps=steps)


class _Watched(RoundEngine):
    """Rounds of which the rows of the first exchange are kept as receivers decode them."""

    _first_sent: Tensor | None = None
    releases = 0
    """Exchanges so far: in each every node sends a row."""

    def sent_in_round(self) -> Tensor | None:
        """Do a round; return the rows of its first exchange, ``[N, K]``, or None if each link has its own."""
        self._first_sent = None
        self.run_round()
        return self._first_sent

    def _carried_out(self, exchange: AnyExchange) -> Mixed:
        mixed = super()._carried_out(exchange)
        self.releases += 1
        if self._first_sent is None and not isinstance(exchange, LinkExchange):
            self._first_sent = mixed.sent
        return mixed


def setting_of(world: World) -> Setting:
    """Prepare the network of a world for many runs.

    Raises
    ------
    NotAccountable
        If neighbours do not see models at all, or lie.
    """
    scenario = world.scenario
    if scenario.attack is not None or scenario.masked_sums is not None:
        raise NotAccountable(
            "models that neighbours saw are attacked here, as honest nodes sent them",
            got="[attack]" if scenario.attack is not None else "[masked_sums], which show sums alone",
            remedy="Leave the table out.",
        )
    if scenario.algorithm.in_rounds:
        network = round_network(scenario, class_counts=world.class_counts)
        return Setting(world=world, network=network, lists=None)
    lists = neighbour_lists(scenario, class_counts=world.class_counts)
    return Setting(world=world, network=None, lists=lists)
