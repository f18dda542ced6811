"""Theory of averaging without learning: rates of consensus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from sims.analysis.runs.network import Network
from sims.analysis.runs.run import Run
from sims.analysis.theory.fitting import LinearRate
from sims.analysis.theory.prediction import CONSENSUS, Figure, Line
from topology import spectrum
from topology.graphs import Topology
from topology.sequences import MixingSequence

__all__ = ["expected_pair_average", "predict_averaging", "spectral_figures"]

_EXACT_NODES = 2048

Floats = NDArray[np.float64]


def spectral_figures(sequence: MixingSequence, fitted: LinearRate | None) -> list[Figure]:
    """Predictions from the spectrum of the mixing matrices, and the rate fitted to the measured curve.

    Parameters
    ----------
    sequence : MixingSequence
    fitted : LinearRate, optional
        Of a run that only averages.
    """
    rate = spectrum.mixing_rate(sequence)
    factor = None if fitted is None else fitted.factor
    figures = []
    if sequence.period == 1:
        modulus = spectrum.second_eigenvalue_modulus(sequence.matrix(0))
        figures.append(
            Figure(
                name="second eigenvalue |λ₂|, against the fitted rate",
                predicted=modulus,
                measured=None if fitted is None else fitted.modulus,
                kind="exact" if sequence.symmetric else "bound",
                source=f"topology.spectrum; the spectral gap is {1 - modulus:.6g}",
            )
        )
    figures.append(
        Figure(
            name="consensus distance left by a round, at most",
            predicted=(1 - rate.p) ** (1 / rate.rounds),
            measured=factor,
            kind="bound" if rate.kind == "exact" else "order",
            source=f"1 − p, p = {rate.p:.6g} over τ = {rate.rounds} rounds (Koloskova et al. 2020, assumption 4)",
        )
    )
    return figures


def predict_averaging(
    run: Run, network: Network, fitted: LinearRate | None
) -> tuple[list[Line], list[Figure]]:
    """Predict the consensus distance of a run in which models are only averaged.

    Parameters
    ----------
    run : Run
    network : Network
    fitted : LinearRate, optional
        Fitted to its measured curve.
    """
    rounds, measured = run.column("round"), run.column(CONSENSUS)
    if not len(measured) or not measured[0] > 0:
        return [], []
    if network.sequence is not None:
        return _of_rounds(network.sequence, rounds, float(measured[0]), fitted)
    both_ways = run.configuration.get("algorithm.exchange") == "push-pull"
    averages = run.theory == "pairwise averages" and both_ways
    if network.graph is None or not averages:
        return [], []
    return _of_pairs(run, network.graph, rounds, float(measured[0]), fitted)


def _of_rounds(
    sequence: MixingSequence, rounds: Floats, start: float, fitted: LinearRate | None
) -> tuple[list[Line], list[Figure]]:
    rate = spectrum.mixing_rate(sequence)
    whole = np.floor(rounds / rate.rounds)
    lines = [
        Line(
            name=f"(1 − p)^(t/τ), p = {rate.p:.4g}, τ = {rate.rounds}",
            quantity=CONSENSUS,
            kind="bound" if rate.kind == "exact" else "order",
            source="Koloskova et al., ICML 2020, assumption 4",
            rounds=rounds,
            values=start * (1 - rate.p) ** whole,
        )
    ]
    if sequence.n <= _EXACT_NODES and rounds[-1] <= 5000:
        curve = spectrum.expected_consensus_curve(sequence, int(rounds[-1]))
        lines.append(
            Line(
                name="expected, for independent first values",
                quantity=CONSENSUS,
                kind="exact" if sequence.period is not None or sequence.expected_contraction else "order",
                source="‖(I − J) W_t … W_1‖²_F / n, in expectation over first values",
                rounds=np.arange(len(curve), dtype=np.float64),
                values=np.asarray(start * curve / (1 - 1 / sequence.n), dtype=np.float64),
            )
        )
    return lines, spectral_figures(sequence, fitted)


def _of_pairs(
    run: Run, graph: Topology, rounds: Floats, start: float, fitted: LinearRate | None
) -> tuple[list[Line], list[Figure]]:
    scenario = run.scenario
    assert scenario is not None  # noqa: S101 - the caller's
    kept = (1 - scenario.network.loss) ** 2
    if scenario.topology.name == "complete":
        ratio = spectrum.pairwise_variance_ratio("sequential")
        factor, kind, source = 1 - kept * (1 - ratio.value), ratio.kind, ratio.source
    else:
        modulus = spectrum.second_eigenvalue_modulus(expected_pair_average(graph))
        factor, kind = (1 - kept * (1 - modulus)) ** graph.n, "order"
        source = (
            "λ₂ of the expected matrix of one exchange, to the power of the exchanges a round (Boyd et al., IEEE "
            "Trans. Information Theory 2006); clocks here ring once a round, not at random"
        )
    line = Line(
        name=f"pairwise averaging, a round leaves {factor:.4g}",
        quantity=CONSENSUS,
        kind=kind,
        source=source,
        rounds=rounds,
        values=start * factor**rounds,
    )
    figure = Figure(
        name="consensus distance left by a round",
        predicted=factor,
        measured=None if fitted is None else fitted.factor,
        kind=kind,
        source=source,
    )
    return [line], [figure]


def expected_pair_average(graph: Topology) -> csr_array:
    """E[W] where a random node averages with a random neighbour: W = I − ½ (eᵢ − eⱼ)(eᵢ − eⱼ)ᵀ."""
    degrees = np.diff(graph.indptr)
    chances = np.repeat(1.0 / (graph.n * np.maximum(degrees, 1)), degrees)
    chosen = csr_array((chances, graph.indices, graph.indptr), shape=(graph.n, graph.n))
    both = (chosen + chosen.T).tocsr()
    stays = csr_array(
        (1 - np.asarray(both.sum(axis=1)).ravel() / 2, (np.arange(graph.n), np.arange(graph.n))),
        shape=(graph.n, graph.n),
    )
    return csr_array(stays + both / 2)
