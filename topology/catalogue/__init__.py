"""Families of topologies by name, and expressions that name one: ``ring:64``, ``base:25,k=2``."""

from topology.catalogue.build import NamedTopology, build
from topology.catalogue.expression import WEIGHTINGS, Expression, find_family, parse
from topology.catalogue.families import FAMILIES
from topology.catalogue.family import Family, Parameter

__all__ = [
    "FAMILIES",
    "WEIGHTINGS",
    "Expression",
    "Family",
    "NamedTopology",
    "Parameter",
    "build",
    "find_family",
    "parse",
]
