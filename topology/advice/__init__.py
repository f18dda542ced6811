"""Advice on topologies: candidates ranked by predicted time to target, with a reason each."""

from topology.advice.candidates import candidate_expressions
from topology.advice.disagreement import lifetimes, rate_of
from topology.advice.outer import OuterAdvice, OuterChoice, advise_outer
from topology.advice.ranking import advise
from topology.advice.recommendation import Advice, Recommendation, Refusal

__all__ = [
    "Advice",
    "OuterAdvice",
    "OuterChoice",
    "Recommendation",
    "Refusal",
    "advise",
    "advise_outer",
    "candidate_expressions",
    "lifetimes",
    "rate_of",
]
