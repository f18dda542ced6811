"""Reports of what observers learn: pairs, distances, coalitions, and published bounds beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gossipfl.privacy import Guarantee, gaussian_guarantee
from sims.privacy.bounds import Bound
from sims.privacy.errors import NotAccountable
from sims.privacy.linear_run import LinearRun
from sims.privacy.published import muffliato_pairwise
from sims.privacy.round_mechanisms import RoundsLoss
from sims.privacy.row_space import Floats
from sims.privacy.sampling import PrivateTraining, SampledLoss
from sims.privacy.views import Coalition, known_to, worst_coalition

__all__ = ["Distance", "PrivacyReport", "report_of"]

_ALL_OBSERVERS = 200
_ABOVE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """Pairs of an observer and a node that are equally many links apart.

    Parameters
    ----------
    distance : int
        Links that what the observer receives has to pass; -1 where nothing can arrive.
    pairs, reconstructed, above_published : int
        How many there are; in how many a noisy value can be computed; in how many the loss is above the published
        bound.
    mean, largest : float
        The loss for each of the node's values: as a share of what the noisy values give away by themselves, or as
        μ² where there is other noise than their own.
    published : float or None
        The largest published bound, in the same unit; None where there is none.
    guarantee : Guarantee
        Of the pair that loses most.
    """

    distance: int
    pairs: int
    reconstructed: int
    mean: float
    largest: float
    published: float | None
    above_published: int
    guarantee: Guarantee


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyReport:
    """What observers of a run learn.

    Parameters
    ----------
    run : LinearRun
    noise : float or None
        Deviation of the noise on each value, in units of the value's sensitivity; None if there is other noise.
    delta : float
    observers : tuple of int
    losses : ndarray
        Square shift in units of (Δ/σ)², ``[observers, nodes]``; μ² if there is other noise than that of values.
    values : ndarray
        How many values each node has, int64 ``[nodes]``: its loss to whoever sees them all one by one.
    by_distance : tuple of Distance
    coalitions : tuple of Coalition
    local : Guarantee
        Of the node that loses most to an observer of all its noisy values; of all rows, if there is other noise.
    bound : Bound, optional
        Where losses are bounded from above, and not exact.
    overheard : ndarray or None
        What each node loses to whoever sees all rows that are sent and knows no noise, ``[nodes]``, if there is
        other noise.
    worst : Guarantee
        Of the pair that loses most.
    worst_pair : tuple of int
        The observer and the node.
    sampled : SampledLoss, optional
        Of the node that loses most where batches are sampled at random in secret.
    rounds : RoundsLoss, optional
        Of the node that loses most where the algorithm adds noise itself.
    """

    run: LinearRun
    noise: float | None
    delta: float
    observers: tuple[int, ...]
    losses: Floats
    values: NDArray[np.int64]
    by_distance: tuple[Distance, ...]
    coalitions: tuple[Coalition, ...]
    local: Guarantee
    worst: Guarantee
    worst_pair: tuple[int, int]
    sampled: SampledLoss | None = None
    rounds: RoundsLoss | None = None
    overheard: Floats | None = None
    bound: Bound | None = None

    @property
    def unit(self) -> str:
        """Unit of losses: a share of what noisy values give away by themselves, or μ²."""
        return "share" if self.run.noise is None else "mu_squared"

    def to_dict(self) -> dict[str, Any]:
        """All of it for machines, with ε for each pair."""
        return {
            "nodes": self.run.nodes,
            "values": int(self.values.sum()),
            "noise_multiplier": self.noise,
            "unit": self.unit,
            "exact": self.bound is None,
            "changed": None if self.bound is None else list(self.bound.after),
            "delta": self.delta,
            "local": _dict_of(self.local),
            "worst": {
                "observer": self.worst_pair[0],
                "node": self.worst_pair[1],
                **_dict_of(self.worst),
            },
            "sampled": None if self.sampled is None else asdict(self.sampled),
            "rounds": None if self.rounds is None else self.rounds.to_dict(),
            "by_distance": [
                {
                    "distance": each.distance,
                    "pairs": each.pairs,
                    "reconstructed": each.reconstructed,
                    "mean_share": _finite(each.mean),
                    "largest_share": _finite(each.largest),
                    "published": each.published,
                    "pairs_above_published": each.above_published,
                    **_dict_of(each.guarantee),
                }
                for each in self.by_distance
            ],
            "coalitions": [
                {
                    "members": list(each.members),
                    "chosen": each.chosen,
                    "mean_share": _finite(each.mean),
                    "largest_share": _finite(each.largest),
                    "reconstructed": each.reconstructed,
                    "others": each.others,
                    **_dict_of(_guarantee(each.loss, self.noise, self.delta)),
                }
                for each in self.coalitions
            ],
            "observers": list(self.observers),
            "overheard": None if self.overheard is None else _finite_all(self.overheard.tolist()),
            "losses": [_finite_all(row) for row in self.losses.tolist()],
            "epsilons": [_finite_all(row) for row in self.epsilons()],
        }

    def epsilons(self) -> list[list[float]]:
        """ε of each observer and node."""
        return [
            [_guarantee(loss, self.noise, self.delta).epsilon for loss in row] for row in self.losses.tolist()
        ]


def report_of(
    run: LinearRun,
    *,
    noise: float | None,
    delta: float,
    observers: Sequence[int] | None = None,
    coalitions: Sequence[int] = (),
    sees_all: bool = False,
    training: PrivateTraining | None = None,
    rounds: RoundsLoss | None = None,
    bound: Bound | None = None,
    on_observer: Callable[[int], None] = lambda number: None,
) -> PrivacyReport:
    """Account for a run.

    Parameters
    ----------
    run : LinearRun
    noise : float or None
        σ/Δ of each value; None for a run with other noise.
    delta : float
    observers : sequence of int, optional
        All nodes unless given; of more than 200, as many spread evenly.
    coalitions : sequence of int
        Sizes of coalitions to look for.
    sees_all : bool
        Whether observers see all rows that are sent, to whomever.
    training : PrivateTraining, optional
        What the run declares of its training steps.
    rounds : RoundsLoss, optional
        What its algorithm declares of its noise.
    bound : Bound, optional
        What losses are at most, instead of exact ones.
    on_observer : callable, optional
        Told how many observers are done.
    """
    values = run.counts
    if not values.any():
        raise NotAccountable("nothing in the run is private", expected="values of nodes, or training")
    watching = _watching(run, observers)
    heard = run.overheard() if sees_all or run.noise is not None else run
    listener = (run.nodes,)
    known, also = (heard, listener) if sees_all else (run, ())
    losses, published, distances, computed = [], [], [], []
    for done, observer in enumerate(watching):
        on_observer(done)
        run.require_nodes([observer])
        view = known_to(known, [observer, *also]) if bound is None else bound.view(run, [observer])
        losses.append(view.losses[: run.nodes])
        computed.append(view.computed[: run.nodes])
        distances.append(run.distances_to(observer))
        if bound is not None:
            continue
        if rounds is not None and run.noise is not None:
            published.append(rounds.squares)
        elif values.max() == 1 and run.noise is None and not run.has_sums:
            by_formula = np.zeros(run.nodes)
            by_formula[run.owners] = muffliato_pairwise(run, [observer])
            published.append(by_formula)
    overheard = None if run.noise is None else _overheard(heard, bound)
    matrix, apart = np.array(losses), np.array(distances)
    other = (apart != 0) & (values > 0)
    if not other.any():
        raise NotAccountable(
            "there is nobody to learn about",
            expected="another node than the observers with something private",
        )
    place = np.unravel_index(np.argmax(np.where(other, matrix, -1.0)), matrix.shape)
    return PrivacyReport(
        run=run,
        noise=noise,
        delta=delta,
        observers=tuple(watching),
        losses=matrix,
        values=values,
        by_distance=tuple(
            _distance(
                int(distance),
                (apart == distance) & other,
                losses=matrix,
                shares=matrix / np.maximum(values, 1),
                values=values,
                computed=np.array(computed),
                published=np.array(published) if published else None,
                guarantee=lambda loss: _guarantee(loss, noise, delta),
            )
            for distance in sorted(np.unique(apart[other]), key=lambda each: each if each >= 0 else run.nodes)
        ),
        coalitions=tuple(worst_coalition(known, size, listening=also, bound=bound) for size in coalitions),
        local=_guarantee(float((values if overheard is None else overheard).max()), noise, delta),
        overheard=overheard,
        bound=bound,
        worst=_guarantee(float(matrix[place]), noise, delta),
        worst_pair=(watching[int(place[0])], int(place[1])),
        rounds=rounds,
        sampled=None if training is None else training.worst(values, delta=delta),
    )


def _overheard(heard: LinearRun, bound: Bound | None) -> Floats:
    """What each node loses to whoever sees all rows, who is the last node."""
    if bound is not None:
        return bound.squares
    listener = heard.nodes - 1
    return known_to(heard, [listener]).losses[:listener]


def _watching(run: LinearRun, observers: Sequence[int] | None) -> list[int]:
    if observers is not None:
        return list(observers)
    count = min(run.nodes, _ALL_OBSERVERS)
    return [int(number) for number in np.linspace(0, run.nodes - 1, count).round()]


def _distance(
    distance: int,
    pairs: NDArray[np.bool_],
    *,
    losses: Floats,
    shares: Floats,
    values: NDArray[np.int64],
    computed: NDArray[np.bool_],
    published: Floats | None,
    guarantee: Callable[[float], Guarantee],
) -> Distance:
    above = 0 if published is None else int((losses[pairs] > published[pairs] + _ABOVE).sum())
    return Distance(
        distance=distance,
        pairs=int(pairs.sum()),
        reconstructed=int(computed[pairs].sum()),
        mean=float(shares[pairs].mean()),
        largest=float(shares[pairs].max()),
        published=None if published is None else float((published / np.maximum(values, 1))[pairs].max()),
        above_published=above,
        guarantee=guarantee(float(losses[pairs].max())),
    )


def _guarantee(loss: float, noise: float | None, delta: float) -> Guarantee:
    return _cached_guarantee(float(f"{math.sqrt(loss) / (noise or 1.0):.12g}"), delta)


@lru_cache(maxsize=100_000)
def _cached_guarantee(mu: float, delta: float) -> Guarantee:
    return gaussian_guarantee(mu, delta=delta)


def _dict_of(guarantee: Guarantee) -> dict[str, float | None]:
    return {"epsilon": _finite(guarantee.epsilon), "epsilon_by_rdp": _finite(guarantee.epsilon_by_rdp)}


def _finite(number: float) -> float | None:
    """The number; None if it is infinite, as JSON has no such number."""
    return number if math.isfinite(number) else None


def _finite_all(numbers: Sequence[float]) -> list[float | None]:
    return [_finite(each) for each in numbers]
