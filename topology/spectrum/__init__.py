"""Spectra of topologies: eigenvalues, consensus curves, and predictions of theory."""

from topology.spectrum import closed_forms
from topology.spectrum.consensus import (
    EXACT_NODES,
    consensus_curve,
    consensus_distance,
    expected_consensus_curve,
    rounds_to_consensus,
)
from topology.spectrum.effective import effective_neighbours
from topology.spectrum.eigen import (
    contraction_factor,
    eigenvalues,
    second_eigenvalue_modulus,
    spectral_gap,
)
from topology.spectrum.laplacian import (
    algebraic_connectivity,
    fiedler_vector,
    hostile_neighbours_survivable,
    laplacian,
    largest_laplacian_eigenvalue,
)
from topology.spectrum.outer_momentum import (
    OuterStep,
    fastest_outer_rate,
    largest_outer_rate,
    outer_consensus_factor,
    outer_moments,
    recommended_outer_step,
)
from topology.spectrum.prediction import Prediction
from topology.spectrum.quadratics import dsgd_fixed_point, dsgd_noise_floor
from topology.spectrum.rates import (
    MixingRate,
    mixing_rate,
    pairwise_variance_ratio,
    predicted_rounds_to_consensus,
    predicted_rounds_to_target,
    transient_iterations,
)

__all__ = [
    "EXACT_NODES",
    "MixingRate",
    "OuterStep",
    "Prediction",
    "algebraic_connectivity",
    "closed_forms",
    "consensus_curve",
    "consensus_distance",
    "contraction_factor",
    "dsgd_fixed_point",
    "dsgd_noise_floor",
    "effective_neighbours",
    "eigenvalues",
    "expected_consensus_curve",
    "fastest_outer_rate",
    "fiedler_vector",
    "hostile_neighbours_survivable",
    "laplacian",
    "largest_laplacian_eigenvalue",
    "largest_outer_rate",
    "mixing_rate",
    "outer_consensus_factor",
    "outer_moments",
    "pairwise_variance_ratio",
    "predicted_rounds_to_consensus",
    "predicted_rounds_to_target",
    "recommended_outer_step",
    "rounds_to_consensus",
    "second_eigenvalue_modulus",
    "spectral_gap",
    "transient_iterations",
]
