"""Bytes that a round holds at a time for each node, found by rehearsing rounds of a few nodes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gossipfl.algorithms import (
    AnyExchange,
    Exchange,
    LinkExchange,
    Links,
    Mixed,
    NeighbourRows,
    RoundContext,
    run_round,
)
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.attacks import SameToAll
from gossipfl.codecs.draws import common_key, exchange_keys
from gossipfl.machine import available_memory
from gossipfl.outgoing import IN_FULL, Draws, Pipeline
from gossipfl.rounds.message_shapes import nobody_around
from gossipfl.training import Nodes
from sims.clock import failures_of
from sims.clock.profile import CountedTraining
from sims.engine.allocator import LARGEST_KEPT
from sims.engine.round_engine import absent_as_before
from sims.engine.sent import Sent
from sims.metrics.living import Living, Watching
from sims.scenario.outgoing import outgoing_of
from sims.world import World

__all__ = ["RoundBytes", "round_bytes"]

logger = logging.getLogger(__name__)

_NODES = 4
_SAMPLES = 20  # of each
_MOST_ROUNDS = 8
_NUMBERS = 1 << 24  # of all rows that are rehearsed: of large models fewer rounds
_COPIES = 16  # of a row: as many as few algorithms hold at a time


@dataclass(frozen=True, slots=True)
class RoundBytes:
    """The most bytes that are held at a time.

    Parameters
    ----------
    node, end : float
        For each node, and for each end of a link where these have rows of their own.
    """

    node: float
    end: float = 0.0


def round_bytes(world: World) -> RoundBytes:
    """Rehearse rounds of four nodes, each with one neighbour, and with two where links have rows.

    Where a few rows alone would fill the memory, nothing is rehearsed: such a run does not fit. An algorithm that
    fails on four nodes counts as D-PSGD: if it fails in the network, too, it is named there.
    """
    row = world.dtype.itemsize * world.layout.size
    plain = RoundBytes(3 * row)
    if _NODES * _COPIES * row > available_memory():
        return plain
    try:
        return _rehearsed(world)
    except Exception as error:  # whatever an author's algorithm may do
        logger.info("memory of %s is not rehearsed: %s", world.scenario.algorithm.name, error)
        return plain


def _rehearsed(world: World) -> RoundBytes:
    """What rounds of four nodes hold."""
    algorithm = world.scenario.algorithm.of_rounds(world.layout)
    one = _most(world, _links(1))
    if not algorithm.requirements.links:
        return RoundBytes(one / _NODES)
    end = (_most(world, _links(2)) - one) / _NODES
    return RoundBytes(one / _NODES - end, end)


def _links(degree: int) -> Links:
    """Ends of four nodes in pairs, or on a ring."""
    around = [[1], [0], [3], [2]] if degree == 1 else [[1, 3], [0, 2], [1, 3], [0, 2]]
    ends = [(node, other) for node, others in enumerate(around) for other in others]
    owner, neighbours = torch.tensor(ends, dtype=torch.int64).T.contiguous()
    return Links(
        owner=owner, neighbours=neighbours, weights=torch.full((len(owner),), 1 / (degree + 1)).double()
    )


def _most(world: World, links: Links) -> int:
    """The most bytes of some rounds of four nodes with such links.

    Tables that are small with all nodes are kept by the allocator, and make no room for large ones.
    """
    living = Living(kept_below=LARGEST_KEPT * _NODES / world.scenario.population.nodes)
    with torch.no_grad(), Watching(living.seen):
        _rehearse(world, links, living)
    return living.most


def _rehearse(world: World, links: Links, living: Living) -> None:
    scenario, layout = world.scenario, world.layout
    algorithm = scenario.algorithm.of_rounds(layout).for_members(scenario.population.nodes)
    rows = torch.linspace(0.5, 1.0, layout.size, dtype=world.dtype).expand(_NODES, -1).contiguous()
    start = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    of_links = links if algorithm.requirements.links else None
    nodes = start_nodes(algorithm, start, shared_size=layout.shared_size, links=of_links)
    del rows, start
    lies = scenario.attack is not None and isinstance(scenario.attack.build(), SameToAll)
    exchanges = _Exchanges(outgoing_of(scenario), living, seed=scenario.seed, lies=lies)
    local = _Training(scenario.training, layout, _SAMPLES, shift=0.01, nodes=_NODES)
    some_stay_away = "churn" in failures_of(scenario)
    rounds = min(_MOST_ROUNDS, int(scenario.stop.rounds), max(2, _NUMBERS // (_NODES * layout.size)))
    for number in range(rounds):
        context = RoundContext(
            local=local,
            shared_size=layout.shared_size,
            round=number,
            numbers=torch.arange(_NODES),
            seed=scenario.seed,
            links=of_links,
        )
        exchanges.round = number
        before, nodes = nodes, run_round(algorithm, nodes, context, exchanges)
        if some_stay_away:
            nodes = absent_as_before(context.numbers % 2 == 0, before, nodes)
        del before


class _Training(CountedTraining):
    """Training that makes what training makes: rows and an optimiser's state."""

    def update(self, nodes: Nodes, steps: Tensor | None = None) -> Nodes:
        after = super().update(nodes, steps)
        return replace(after, optimiser_state=nodes.optimiser_state.clone())

    def gradient(self, nodes: Nodes) -> tuple[Nodes, Tensor]:
        after, gradients = super().gradient(nodes)
        has_buffers = self._layout.size > self._layout.trainable_size
        return replace(after, rows=nodes.rows.clone()) if has_buffers else after, gradients


class _Exchanges:
    """Exchanges of which everybody hears what he has sent, and that keep the sums as simulations do.

    Where hostile nodes tell everybody the same lies, there is a table of what is told beside the sums. Where a
    rule combines rows, a neighbour's of everybody are counted already, which are there for a few nodes only.
    """

    def __init__(self, outgoing: Pipeline, living: Living, *, seed: int, lies: bool) -> None:
        self._outgoing, self._living, self._seed, self._lies = outgoing, living, seed, lies
        self.round = 0
        self._spare: Tensor | None = None

    def __call__(self, exchange: AnyExchange) -> Mixed:
        rows, outgoing = exchange.rows, self._outgoing.with_codec(exchange.compressor)
        sent = Sent(rows, rows, None)
        if outgoing != IN_FULL:
            place = {"round_number": self.round, "exchange": 0}
            keys = exchange_keys(torch.arange(len(rows)), seed=self._seed, **place)
            draws = Draws(keys=keys, common=common_key(seed=self._seed, **place))
            sent = Sent(rows, self._decoded(outgoing, rows, draws), outgoing.columns(rows.shape[1], draws))
        if isinstance(exchange, NeighbourRows):
            around = sent.widened(nobody_around(sent.decoded))
            return Mixed(rows=self._a_few_at_a_time(lambda: exchange.combined(around)), sent=sent.whole)
        if isinstance(exchange, LinkExchange):
            return sent.mixed(sent.decoded.clone())
        self._spare = None  # its memory is taken by the next sums, if nobody has them any more
        self._spare = sent.decoded.clone() if isinstance(exchange, Exchange) else None
        if self._lies:
            sent.decoded.clone()  # what is told
        return sent.mixed(self._spare)

    def _decoded(self, outgoing: Pipeline, rows: Tensor, draws: Draws) -> Tensor:
        """Rows as receivers decode them."""
        transformed, codec = outgoing.transform(rows, draws), outgoing.codec
        if codec is None:
            return transformed
        return self._a_few_at_a_time(lambda: codec.compress(transformed, keys=draws.keys))

    def _a_few_at_a_time(self, compute: Callable[[], Tensor]) -> Tensor:
        """What simulations compute for a few nodes at a time: of that only the outcome grows with their number."""
        self._living.paused = True
        found = compute()
        self._living.paused = False
        return found.clone()
