"""Forms of the tables of a scenario that declarations define: one for each bundled algorithm and attack."""

from __future__ import annotations

from collections.abc import Iterator

from gossipfl.algorithms.registry import bundled as bundled_algorithms
from gossipfl.attacks.registry import bundled as bundled_attacks
from gossipfl.settings.keys import KeyTable, form_tables
from sims.scenario.algorithm import AlgorithmSection
from sims.scenario.attack import AttackSection

__all__ = ["algorithm_tables", "attack_tables"]


def algorithm_tables() -> Iterator[KeyTable]:
    """Yield the tables of every bundled algorithm."""
    forms = zip(bundled_algorithms().items(), AlgorithmSection.variants(), strict=True)
    for (name, declared), model in forms:
        about = f"{_summary(declared)} ({declared.paper})" if declared.paper else _summary(declared)
        yield from form_tables(model, place="algorithm", choice=f'name = "{name}"', about=about)


def attack_tables() -> Iterator[KeyTable]:
    """Yield the tables of every bundled attack."""
    for (name, declared), model in zip(bundled_attacks().items(), AttackSection.variants(), strict=True):
        about = f"{_summary(declared)} ({declared.paper})" if declared.paper else _summary(declared)
        yield from form_tables(model, place="attack", choice=f'name = "{name}"', about=about)


def _summary(declared: type) -> str:
    return (declared.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")
