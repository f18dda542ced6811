"""Mixing matrices: the weight of each node in the next model of each other.

``W[i, j]`` is the weight that node i gives to what node j sends, so one round is ``X ← W @ X`` with one row a
node. All are `scipy.sparse.csr_array` of float64.
"""

from topology.mixing.checks import check_mixing_matrix
from topology.mixing.fastest import fastest
from topology.mixing.weights import column_stochastic, lazy, max_degree, metropolis_hastings, uniform

__all__ = [
    "check_mixing_matrix",
    "column_stochastic",
    "fastest",
    "lazy",
    "max_degree",
    "metropolis_hastings",
    "uniform",
]
