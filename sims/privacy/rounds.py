"""Linear runs of round-based scenarios, found by running the algorithm itself on coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

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
from gossipfl.outgoing import IN_FULL, Pipeline
from gossipfl.training import Nodes
from gossipfl.training.optimisers import optimiser_of
from sims.clock import failures_of
from sims.engine.exchange import Exchanges
from sims.privacy.coefficients import NOT_A_WIDTH, stacked, with_parts
from sims.privacy.errors import NotAccountable
from sims.privacy.linear_run import NOBODY, LinearRun, Stage
from sims.privacy.source_noise import SourceNoise
from sims.privacy.summed import linear_sums
from sims.privacy.symbolic_noise import Drawn, Draws, SymbolicNoise
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
    draws: Draws
    observed: list[csr_array] = field(default_factory=list)
    senders: list[Ints] = field(default_factory=list)
    receivers: list[Ints] = field(default_factory=list)
    needed: list[Ints] = field(default_factory=list)
    holders: list[csr_array] = field(default_factory=list)


class _Rounds:
    """Rounds of an algorithm on rows of coefficients."""

    def __init__(self, scenario: Scenario, network: RoundNetwork, samples: Ints, outgoing: Pipeline) -> None:
        self.scenario, self.network = scenario, network
        self.algorithm: RoundAlgorithm = scenario.algorithm.of_rounds()
        wanting = unmet(
            scenario.algorithm.name,
            self.algorithm.requirements,
            network.sequence,
            cliques=network.cliques is not None,
            training=scenario.training,
            outgoing=outgoing,
        )
        self.deviation = math.hypot(*(each.deviation for each in outgoing.noise))
        if wanting is not None:
            raise NotAccountable(wanting.what, expected=wanting.expected, remedy=wanting.remedy)
        if self.algorithm.requirements.server:
            raise NotAccountable(
                f"{scenario.algorithm.name!r} averages at a server, which sees all rows",
                remedy="Choose an algorithm without a server.",
            )
        fails = failures_of(scenario)
        if fails:
            raise NotAccountable(
                f"{', '.join(fails)}: rows of rounds may not arrive, and accounts are of runs in which all do",
                remedy="Leave them out; of real peers, whose records say what arrived, accounts are exact.",
            )
        self.samples = torch.from_numpy(samples)
        self.sums = linear_sums(scenario, self.algorithm)
        self.exchanges = Exchanges(
            network.sequence,
            cliques=network.cliques,
            complete=network.complete,
            seed=scenario.seed,
            device=torch.device("cpu"),
            masked_sums=self.sums,
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

    def run(self, number: int, nodes: Nodes, gradients: Tensor, noise: Tensor) -> _Probe:
        """Run a round on nodes, with the gradients that are taken in it, and the noise that is drawn."""
        training = SymbolicTraining(
            self.scenario.training,
            samples=self.samples,
            enabled=self.scenario.training.enabled,
            gradients=gradients,
        )
        self.exchanges.begin(number)
        links = self.exchanges.links() if self.algorithm.requirements.links else None
        draws = Draws(noise)
        context = RoundContext(
            local=training,
            shared_size=nodes.rows.shape[1],
            round=number,
            numbers=torch.arange(len(nodes)),
            seed=self.scenario.seed,
            links=links,
            given_noise=SymbolicNoise(draws, range(len(nodes))),
        )
        probe = _Probe(nodes, training, draws)

        def carry_out(exchange: AnyExchange) -> Mixed:
            by_link = isinstance(exchange, LinkExchange)
            senders = self.exchanges.links().owner.tolist() if by_link else range(len(nodes))
            rows = draws.leaving(senders, exchange.rows, deviation=self.deviation)
            exchange = replace(exchange, rows=rows)
            self._see(probe, exchange, number)
            mixed = self.exchanges(exchange)
            self._see_sums(probe)
            return mixed

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
                f"{name!r} sends only parts of its rows", remedy="Choose an algorithm that sends whole rows."
            )
        if self.sums is not None:
            return  # they are known once they are drawn
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

    def _see_sums(self, probe: _Probe) -> None:
        """Note who sees which sum, and who could see its summands."""
        if self.sums is None:
            return
        seen, width, nodes = self.sums.seen, probe.nodes.rows.shape[1], self.network.sequence.n
        rows = [row[:width].numpy() for row in seen.rows]
        probe.observed.append(csr_array(np.stack(rows) if rows else np.zeros((0, width))))
        probe.senders.append(np.array(seen.senders, dtype=np.int64))
        probe.receivers.append(np.array(seen.receivers, dtype=np.int64))
        probe.needed.append(np.array(seen.needed, dtype=np.int64))
        probe.holders.append(seen.holding(nodes))

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
    outgoing: Pipeline = IN_FULL,
    on_round: Callable[[int], None] = lambda number: None,
) -> LinearRun:
    """Find the linear run of a scenario in rounds.

    Its private values are the gradients of all training steps, or, without training, the rows that nodes start
    from. Other sources are all the noise that the algorithm draws besides that on the values themselves, and the
    noise on rows that leave.

    Parameters
    ----------
    scenario : Scenario
    network : RoundNetwork
    samples : ndarray
        How many samples each node has, int64 ``[N]``.
    private_start : bool
        Whether each node starts from a row of its own that is private.
    outgoing : Pipeline
        Nothing but noise.
    on_round : callable, optional
        Told the number of each round before it.

    Raises
    ------
    NotAccountable
        If the algorithm is not linear.
    """
    rounds, n = _Rounds(scenario, network, samples, outgoing), scenario.population.nodes
    entering = n if private_start else 0
    nodes = rounds.start(torch.eye(n, max(entering, NOT_A_WIDTH), dtype=torch.float64) * bool(entering))
    first = Stage(
        transition=csr_array(stacked(nodes)[:, :entering].numpy()),
        observed=csr_array((0, entering)),
        senders=NOBODY,
        receivers=NOBODY,
        values=np.arange(entering),
    )
    owners, others, private, stages = list(range(entering)), [-1] * entering, [True] * entering, [first]
    known: dict[tuple[bytes, ...], Stage] = {}
    last = int(np.ceil(scenario.stop.rounds)) - 1
    counts = (0, 0)
    for number in range(last + 1):
        on_round(number)
        nodes, stage, taken, drawn = _one_round(
            rounds, number, nodes, len(owners), counts, check=number in (0, last)
        )
        counts = len(taken), len(drawn)
        owners += [*taken, *(node for node, _ in drawn)]
        others += [*(-1 for _ in taken), *(other for _, other in drawn)]
        private += [*(True for _ in taken), *(False for _ in drawn)]
        stages.append(known.setdefault(_content(stage), stage))
    return LinearRun(
        nodes=n,
        owners=np.array(owners, dtype=np.int64),
        stages=stages,
        noise=SourceNoise.of_sources(private, others, owners),
    )


def _one_round(
    rounds: _Rounds, number: int, nodes: Nodes, first: int, expected: tuple[int, int], *, check: bool
) -> tuple[Nodes, Stage, list[int], list[Drawn]]:
    """Nodes after a round, its stage, the owners of its gradients, and who drew its noise.

    Parameters
    ----------
    first : int
        Number of the first source that enters.
    expected : tuple of int
        How many gradients and draws there were in the round before: most likely as many as now.
    """
    before = len(stacked(nodes))
    while True:
        taken, drawn = expected
        width = before + taken + drawn
        units = torch.eye(width, max(width, NOT_A_WIDTH), dtype=torch.float64)
        probe = _on(rounds, number, nodes, units, taken=taken)
        found = len(probe.training.taken), len(probe.draws.drawn)
        if found == expected:
            break
        expected = found
    transition = stacked(probe.nodes)[:, :width]
    if check:
        generator = torch.Generator().manual_seed(number)
        numbers = torch.randn(width, NOT_A_WIDTH, dtype=torch.float64, generator=generator)
        after = _on(rounds, number, nodes, numbers, taken=taken).nodes
        if not torch.allclose(stacked(after), transition @ numbers, rtol=1e-6, atol=1e-9):
            raise NotAccountable(
                f"{rounds.scenario.algorithm.name!r} is not linear in its rows",
                remedy="Choose an algorithm that averages, such as d_psgd.",
            )
    stage = Stage(
        transition=csr_array(transition.numpy()),
        observed=csr_array(vstack(probe.observed, format="csr"))[:, :width],
        senders=np.concatenate(probe.senders),
        receivers=np.concatenate(probe.receivers),
        values=np.arange(first, first + taken + drawn),
        needed=np.concatenate(probe.needed) if probe.needed else None,
        holders=csr_array(vstack(probe.holders, format="csr")) if probe.holders else None,
    )
    return probe.nodes, stage, probe.training.taken, probe.draws.drawn


def _on(rounds: _Rounds, number: int, nodes: Nodes, rows: Tensor, *, taken: int) -> _Probe:
    """Run a round on rows: the state, so many gradients, and the noise."""
    before = len(stacked(nodes))
    state, gradients, noise = rows[:before], rows[before : before + taken], rows[before + taken :]
    return rounds.run(number, with_parts(nodes, state), gradients, noise)


def _content(stage: Stage) -> tuple[bytes, ...]:
    """All of a stage, as keys of equal stages."""
    matrices = [each for each in (stage.transition, stage.observed, stage.holders) if each is not None]
    arrays = [getattr(matrix, name) for matrix in matrices for name in ("indptr", "indices", "data")]
    needed = () if stage.needed is None else (stage.needed,)
    return tuple(each.tobytes() for each in (*arrays, stage.senders, stage.receivers, stage.values, *needed))
