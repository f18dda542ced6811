"""The registry of topologies, and expressions such as ``ring:64``, ``base:25,k=2`` or ``mymodule:make_graph``."""

from topology.catalogue.expression import WEIGHTINGS, Expression, as_table, from_table, parse
from topology.catalogue.family import Family
from topology.catalogue.named import NamedTopology, build
from topology.catalogue.parameter import Parameter
from topology.catalogue.registry import FAMILIES, canonical_name, families, find_family

__all__ = [
    "FAMILIES",
    "WEIGHTINGS",
    "Expression",
    "Family",
    "NamedTopology",
    "Parameter",
    "as_table",
    "build",
    "canonical_name",
    "families",
    "find_family",
    "from_table",
    "parse",
]
