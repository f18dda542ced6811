"""The questions an analysis answers."""

from __future__ import annotations

from dataclasses import dataclass

from sims.analysis.measures.targets import Statistic

__all__ = ["Questions"]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The questions asked of runs.

    Parameters
    ----------
    metric : str, optional
        The measure of success; by default the task's first metric.
    target : float, optional
        The level to reach; by default `sims.analysis.measures.targets.common_target`.
    statistic : {'mean', 'worst', 'median'}
        Of which node.
    baseline : str, optional
        Label of the group that others are compared with; by default the first.
    pooled : str
        ``train``, ``none``, a figure, or the directory of a run of pooled training.
    theory : bool
        Whether to compare measurements with theory.
    gains : bool
        Whether to train each node alone for as many steps, and say who gained and who gave.
    contributions : bool
        Whether to say besides what each node is worth to the network, by simulated coalitions of them.
    permutations : int, optional
        As for `sims.contribution.contributions`.
    confidence : float
        Of intervals and bands.
    seed : int
        Draws resamples.
    """

    metric: str | None = None
    target: float | None = None
    statistic: Statistic = "mean"
    baseline: str | None = None
    pooled: str = "train"
    theory: bool = True
    gains: bool = False
    contributions: bool = False
    permutations: int | None = None
    confidence: float = 0.95
    seed: int = 0
