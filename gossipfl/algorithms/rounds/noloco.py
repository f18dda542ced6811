"""NoLoCo: many local steps, and then an outer step with momentum over the means of two nodes.

Kolehmainen, Blagoev, Donaghy, Ersoy & Nies, "NoLoCo: No-all-reduce low communication training method for large
models", arXiv 2506.10911, 2025, Algorithm 1, with the signs of the authors' code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated

import torch

from gossipfl.algorithms.base import Exchange, Links, Requirements, Round, RoundAlgorithm, RoundContext
from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.rounds.close_ones import mixed_residues
from gossipfl.algorithms.rounds.diloco import VELOCITY
from gossipfl.algorithms.rounds.step_weights import STEP_WEIGHTING, StepWeighting, mixed_by_steps
from gossipfl.errors import SettingError
from gossipfl.training.nodes import Nodes
from gossipfl.training.settings import RATE_SETTINGS, TrainingSettings, learning_rates

__all__ = ["NoLoCo"]

logger = logging.getLogger(__name__)

_REMEMBERED = 4  # rounds after which what was learned hardly sets nodes apart any more
_LEAST = 1e-3  # of the learning rate: a schedule may end at 0, and numbers of no size have no residues
_REACH = 2.0
_SUSPECT = 0.2  # of the numbers
_WRONG = "wrong_residues"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoLoCo(RoundAlgorithm):
    """NoLoCo.

    From its slow weights φ_i a node does H = ``training.local_steps`` steps of the inner optimiser, to θ_i; the
    optimiser's state stays where it is. With Δ_i = θ_i − φ_i and means by W, in the paper of two partners drawn
    from a shared seed (``random_matching``),

    * ``m_i ← μ m_i + η Σ_j w_ij Δ_j + η_φ (Σ_j w_ij φ_j − φ_i)``;
    * ``φ_i ← φ_i + m_i``.

    The authors' code has η_φ = η. Then only the mean of θ = φ + Δ counts, ``m_i ← μ m_i + η (Σ_j w_ij θ_j −
    φ_i)``, and P numbers are sent in place of 2P, for the same models up to rounding. So it is without ``pull``.

    With ``bits`` a node sends that many bits of each number, for a random share p of θ (``share``) that is the
    same at all nodes: residues, as in Moniqua (Lu & De Sa, ICML 2020), each of which a receiver completes to the
    number nearest to its own. Models may then differ by no more than ``reach`` times H step sizes: the larger of
    this round's and that of four rounds before, and at least a thousandth of ``training.learning_rate``. No
    residue tells whether they differ by more, but it can be estimated how often they do: `measures` has it, and
    above a fifth of the numbers a warning says so.

    With ``weighting = "steps"`` the mean of θ is ``Σ_j w_ij s_j θ_j / Σ_j w_ij s_j``, where node j did s_j steps.

    Over pairs a large momentum drives nodes apart, as 0.9 does with η = 0.7 (docs/slow-links.md). With μ = 0 and
    η = 1 it is D-PSGD (adapt-then-combine) with H local steps.
    """

    name = "noloco"
    paper = "Kolehmainen et al., arXiv 2025"
    rule = "m ← μm + ηWΔ + η_φ(Wφ − φ), φ ← φ + m, where Δ = θ − φ after H local steps from φ to θ"
    sends = "P, or 2P with pull; p · P numbers of b bits"

    momentum: Annotated[float, Parameter("μ: how much of the outer step goes on", ge=0, lt=1)] = 0.5
    outer_rate: Annotated[float, Parameter("η: how much of the pair's mean progress is taken", gt=0)] = 0.7
    pull: Annotated[
        float | None,
        Parameter("η_φ: how far slow weights go to their mean; as outer_rate if unset", ge=0),
    ] = None
    weighting: Annotated[StepWeighting, Parameter(STEP_WEIGHTING)] = "nodes"
    bits: Annotated[int | None, Parameter("b: bits of each number; float32 if unset", ge=1, le=16)] = None
    share: Annotated[float, Parameter("p: share of the numbers that is sent, with bits", gt=0, le=1)] = 1.0
    reach: Annotated[
        float, Parameter("how far models may differ, with bits, in H step sizes", gt=0, le=1e6)
    ] = _REACH

    @property
    def requirements(self) -> Requirements:
        """Doubly stochastic matrices."""
        return Requirements(exact=self.weighting == "steps" or self.bits is not None)

    @property
    def measures(self) -> Mapping[str, str]:
        """With bits, the share of wrong numbers."""
        if self.bits is None:
            return {}
        return {
            _WRONG: "estimated share of the numbers received in the last round that are wrong, from 0 to 1"
        }

    def common_training(self, settings: TrainingSettings) -> Mapping[str, object]:
        """With bits, whatever step sizes depend on: cells are as wide as the last H of these."""
        names = ("local_steps", *RATE_SETTINGS) if self.bits is not None else ()
        return {name: getattr(settings, name) for name in names}

    def check(self) -> None:
        """Weights of steps are of θ alone."""
        if self.weighting == "steps" and self.pull is not None:
            raise SettingError(
                "noloco with weighting = 'steps' weighs the sum of slow weights and progress, so pull would be "
                "without effect",
                remedy="Leave one of the two out.",
            )
        if self.bits is not None and (self.weighting == "steps" or self.pull is not None):
            raise SettingError(
                "noloco with bits sends residues of θ, which can be neither weighted by steps nor divided "
                "into slow weights and progress",
                remedy="Leave bits, or weighting and pull, out.",
            )
        if self.bits is None and self.share < 1:
            raise SettingError(
                "noloco: share applies only to numbers that are sent in few bits",
                expected="bits beside share",
                got=f"share = {self.share:g} without bits",
                remedy="For a share of numbers in full use [[outgoing]] with kind = 'mask'.",
            )
        if self.bits is None and self.reach != _REACH:
            raise SettingError(
                "noloco: reach applies only to numbers that are sent in few bits",
                expected="bits beside reach",
                got=f"reach = {self.reach:g} without bits",
            )

    def start(self, nodes: Nodes, *, shared_size: int, links: Links | None = None) -> Nodes:
        """Initialise m = 0."""
        zeros = torch.zeros_like(nodes.rows[:, :shared_size])
        measured = {name: zeros.new_zeros(len(nodes), 1) for name in self.measures}
        return replace(nodes, auxiliary={**nodes.auxiliary, VELOCITY: zeros, **measured})

    def round(self, nodes: Nodes, context: RoundContext) -> Round:
        """Do one round."""
        slow = nodes.rows[:, : context.shared_size]
        trained = context.local.update(nodes)
        fast, measured = trained.rows[:, : context.shared_size], {}
        if self.weighting == "steps":
            mean = yield from mixed_by_steps(fast, trained.steps - nodes.steps)
            step = self.outer_rate * (mean - slow)
        elif self.bits is not None:
            mean, apart = yield from mixed_residues(
                fast, context, share=self.share, bits=self.bits, distance=self._distance(context)
            )
            measured = {_WRONG: apart}
            # Adam's first steps are all as large as the step size, so that models can be θ apart, and right.
            if context.round > 0 and apart.mean() > _SUSPECT:
                _say_once(self.reach, self.bits)
            step = self.outer_rate * (mean - slow)
        elif self.pull is None:
            mixed = yield Exchange(fast)
            step = self.outer_rate * (mixed.rows - slow)
        else:
            mixed = yield Exchange(torch.cat([slow, fast - slow], dim=1))
            mean_slow, mean_progress = mixed.rows.chunk(2, dim=1)
            step = self.outer_rate * mean_progress + self.pull * (mean_slow - slow)
        velocity = self.momentum * nodes.auxiliary[VELOCITY] + step
        after = trained.with_shared(slow + velocity, ages=trained.ages)
        return replace(after, auxiliary={**trained.auxiliary, VELOCITY: velocity, **measured})

    def _distance(self, context: RoundContext) -> float:
        """By how much models may differ in a round: the same number at all nodes."""
        settings = context.local.settings
        steps, now = settings.local_steps, context.round
        # Of the last step, too, for rates may rise.
        when = [steps * max(0, now - _REMEMBERED), steps * now, steps * (now + 1) - 1]
        rate = float(learning_rates(torch.tensor(when), settings).max())
        return self.reach * steps * max(rate, _LEAST * settings.learning_rate)


@cache
def _say_once(reach: float, bits: int) -> None:
    logger.warning(
        "noloco: models seem to be farther apart than reach = %g allows for %d bits: more than %.0f %% of the"
        " numbers that arrived are probably wrong; raise reach, or look for a member that sends other numbers",
        reach,
        bits,
        100 * _SUSPECT,
    )
