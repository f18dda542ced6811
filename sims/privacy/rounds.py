"""Linear runs of round-based scenarios, found by running the algorithm itself on coefficients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack
from torch import Tensor

from gossipfl.algorithms import (
    AnyExchange,
    Exchange,
    LinkExchange,
    Mixed,
    RoundAlgorithm,
    RoundContext,
    run_round,
)
from gossipfl.algorithms.author_calls import start_nodes
from gossipfl.algorithms.requirements import unmet
from gossipfl.training import Nodes
from gossipfl.training.optimisers import optimiser_of
from sims.engine.exchange import Exchanges
from sims.privacy.coefficients import NOT_A_WIDTH, stacked, with_parts
from sims.privacy.errors import NotAccountable
from sims.privacy.linear_run import NOBODY, LinearRun, Stage
from sims.privacy.silence import Silence
from sims.privacy.symbolic_training import SymbolicTraining
from sims.scenario import Scenario
from sims.world.networks import RoundNetwork

__all__ = ["round_run"]

Ints = NDArray[np.int64]


@dataclass
class _Probe:
    """What one pass through a round took and showed."""

    nodes: Nodes
    training: SymbolicTraining
    observed: list[csr_array]
    senders: list[Ints]
    receivers: list[Ints]


class _Rounds:
    """Rounds of an algorithm on rows of coefficients."""

    def __init__(self, scenario: Scenario, network: RoundNetwork, samples: Ints) -> None:
        self.scenario, self.network = scenario, network
        self.algorithm: RoundAlgorithm = scenario.algorithm.of_rounds()
        wanting = unmet(
            scenario.algorithm.name,
            self.algorithm.requirements,
            network.sequence,
            cliques=network.cliques is not None,
            training=scenario.training,
        )
        if wanting is not None:
            raise NotAccountable(wanting.what, expected=wanting.expected, remedy=wanting.remedy)
        if self.algorithm.requirements.server:
            raise NotAccountable(
                f"{scenario.algorithm.name!r} averages at a server, which sees all rows",
                remedy="Choose an algorithm without a server.",
            )
        self.samples = torch.from_numpy(samples)
        self.exchanges = Exchanges(
            network.sequence,
            cliques=network.cliques,
            complete=network.complete,
            seed=scenario.seed,
            device=torch.device("cpu"),
        )

    def start(self, rows: Tensor) -> Nodes:
        self.exchanges.begin(0)
        width = optimiser_of(self.scenario.training).state_size(rows.shape[1])
        return start_nodes(
            self.algorithm,
            Nodes.start(rows, optimiser_state_size=width),
            shared_size=rows.shape[1],
            links=self.exchanges.links() if self.algorithm.requirements.links else None,
        )

    def run(self, number: int, nodes: Nodes, gradients: Tensor) -> _Probe:
        """Run a round on nodes, with the gradients that are taken in it."""
        training = SymbolicTraining(
            self.scenario.training,
            samples=self.samples,
            enabled=self.scenario.training.enabled,
            gradients=gradients,
        )
        self.exchanges.begin(number)
        links = self.exchanges.links() if self.algorithm.requirements.links else None
        context = RoundContext(
            local=training,
            shared_size=nodes.rows.shape[1],
            round=number,
            numbers=torch.arange(len(nodes)),
            seed=self.scenario.seed,
            links=links,
            given_noise=Silence(len(nodes)),
        )
        probe = _Probe(nodes, training, [], [], [])

        def carry_out(exchange: AnyExchange) -> Mixed:
            self._see(probe, exchange, number)
            return self.exchanges(exchange)

        probe.nodes = run_round(self.algorithm, nodes, context, carry_out)
        return probe

    def _see(self, probe: _Probe, exchange: AnyExchange, number: int) -> None:
        """Note who receives which row of an exchange."""
        name = self.scenario.algorithm.name
        if exchange.compressor is not None:
            raise NotAccountable(
                f"{name!r} compresses its rows, which is not linear",
                remedy="Choose an algorithm that does not.",
            )
        width = probe.nodes.rows.shape[1]
        if exchange.rows.shape[1] < width:
            raise NotAccountable(
                f"{name!r} sends parts of its rows alone", remedy="Choose an algorithm that sends whole rows."
            )
        rows = csr_array(
            exchange.rows[:, :width].numpy()
        )  # beyond it are weights, the same whatever the values
        if isinstance(exchange, LinkExchange):
            links = self.exchanges.links()
            owners, senders = links.owner.numpy(), links.neighbours.numpy()
            places = np.lexsort((owners, senders))  # the other end of each link, as in `Exchanges`
        elif isinstance(exchange, Exchange):
            owners, senders = self._pairs(exchange, number)
            places = senders
        else:
            raise NotAccountable(
                f"{name!r} combines its neighbours' rows by a rule that is not linear in them",
                remedy="Choose an algorithm that averages.",
            )
        probe.observed.append(rows[places])
        probe.senders.append(senders)
        probe.receivers.append(owners)

    def _pairs(self, exchange: Exchange, number: int) -> tuple[Ints, Ints]:
        if exchange.over == "clique":
            assert self.network.cliques is not None  # noqa: S101 - requirements have been checked
            together = csr_array(self.network.cliques[:, None] == self.network.cliques[None, :])
        else:
            together = self.network.sequence.matrix(number)
        pairs = together.tocoo()
        real = (pairs.row != pairs.col) & (pairs.data != 0)
        return pairs.row[real].astype(np.int64), pairs.col[real].astype(np.int64)


def round_run(
    scenario: Scenario,
    network: RoundNetwork,
    *,
    samples: Ints,
    private_start: bool,
    on_round: Callable[[int], None] = lambda number: None,
) -> LinearRun:
    """Find the linear run of a scenario in rounds.

    Its values are the gradients of all training steps, or, without training, the rows that nodes start from.

    Parameters
    ----------
    scenario : Scenario
    network : RoundNetwork
    samples : ndarray
        How many samples each node has, int64 ``[N]``.
    private_start : bool
        Whether each node starts from a row of its own that is private.
    on_round : callable, optional
        Told the number of each round before it.

    Raises
    ------
    NotAccountable
        If the algorithm is not linear.
    """
    rounds, n = _Rounds(scenario, network, samples), scenario.population.nodes
    entering = n if private_start else 0
    nodes = rounds.start(torch.eye(n, max(entering, NOT_A_WIDTH), dtype=torch.float64) * bool(entering))
    first = Stage(
        transition=csr_array(stacked(nodes)[:, :entering].numpy()),
        observed=csr_array((0, entering)),
        senders=NOBODY,
        receivers=NOBODY,
        values=np.arange(entering),
    )
    owners, stages = list(range(entering)), [first]
    known: dict[tuple[bytes, ...], Stage] = {}
    last = int(np.ceil(scenario.stop.rounds)) - 1
    for number in range(last + 1):
        on_round(number)
        nodes, stage, whose = _one_round(rounds, number, nodes, len(owners), check=number in (0, last))
        owners += whose
        stages.append(known.setdefault(_content(stage), stage))
    return LinearRun(nodes=n, owners=np.array(owners, dtype=np.int64), stages=stages)


def _one_round(
    rounds: _Rounds, number: int, nodes: Nodes, first_value: int, *, check: bool
) -> tuple[Nodes, Stage, list[int]]:
    """Nodes after a round, its stage, and the owners of the values that enter in it."""
    before = len(stacked(nodes))
    idle = torch.zeros(before, 1, dtype=torch.float64)
    whose = rounds.run(number, with_parts(nodes, idle), idle[:0]).training.taken
    units = torch.eye(before + len(whose), dtype=torch.float64)
    probe = rounds.run(number, with_parts(nodes, units[:before]), units[before:])
    transition = stacked(probe.nodes)
    if check:
        generator = torch.Generator().manual_seed(number)
        numbers = torch.randn(len(units), 3, dtype=torch.float64, generator=generator)
        after = rounds.run(number, with_parts(nodes, numbers[:before]), numbers[before:]).nodes
        if not torch.allclose(stacked(after), transition @ numbers, rtol=1e-6, atol=1e-9):
            raise NotAccountable(
                f"{rounds.scenario.algorithm.name!r} is not linear in its rows",
                remedy="Choose an algorithm that averages, such as d_psgd.",
            )
    stage = Stage(
        transition=csr_array(transition.numpy()),
        observed=csr_array(vstack(probe.observed, format="csr")),
        senders=np.concatenate(probe.senders),
        receivers=np.concatenate(probe.receivers),
        values=np.arange(first_value, first_value + len(whose)),
    )
    return probe.nodes, stage, whose


def _content(stage: Stage) -> tuple[bytes, ...]:
    """All of a stage, as keys of equal stages."""
    matrices = (stage.transition, stage.observed)
    arrays = [getattr(matrix, name) for matrix in matrices for name in ("indptr", "indices", "data")]
    return tuple(each.tobytes() for each in (*arrays, stage.senders, stage.receivers, stage.values))
