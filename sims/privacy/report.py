"""Reports of what observers learn: pairs, distances, coalitions, and published bounds beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gossipfl.privacy import Guarantee, gaussian_guarantee
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import Knowledge, knowledge_of
from sims.privacy.linear_run import LinearRun
from sims.privacy.published import muffliato_pairwise
from sims.privacy.round_mechanisms import RoundsLoss
from sims.privacy.row_space import Floats
from sims.privacy.sampling import PrivateTraining, SampledLoss

__all__ = ["Coalition", "Distance", "PrivacyReport", "report_of"]

_ALL_OBSERVERS = 200
_MOST_COALITIONS = 400
_CANDIDATES = 24
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
        The loss as a share of what the node's noisy values give away by themselves.
    published : float or None
        The largest published bound; None where there is none.
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
class Coalition:
    """Nodes that share what they see.

    Parameters
    ----------
    members : tuple of int
    chosen : str
        How they were found among all sets of their number.
    mean : float
        Mean share that the other nodes lose to them.
    reconstructed : int
        Of how many others all noisy values can be computed.
    others : int
    """

    members: tuple[int, ...]
    chosen: str
    mean: float
    reconstructed: int
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyReport:
    """What observers of a run learn.

    Parameters
    ----------
    run : LinearRun
    noise : float
        Deviation of the noise on each value, in units of the value's sensitivity.
    delta : float
    observers : tuple of int
    losses : ndarray
        Square shift in units of (Δ/σ)², ``[observers, nodes]``.
    values : ndarray
        How many values each node has, int64 ``[nodes]``: its loss to whoever sees them all one by one.
    by_distance : tuple of Distance
    coalitions : tuple of Coalition
    local : Guarantee
        Of the node with most values against an observer of all its noisy values.
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
    noise: float
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

    def to_dict(self) -> dict[str, Any]:
        """All of it for machines, with ε for each pair."""
        return {
            "nodes": self.run.nodes,
            "values": len(self.run.owners),
            "noise_multiplier": self.noise,
            "delta": self.delta,
            "local": _dict_of(self.local),
            "worst": {
                "observer": self.worst_pair[0],
                "node": self.worst_pair[1],
                **_dict_of(self.worst),
            },
            "sampled": None if self.sampled is None else asdict(self.sampled),
            "rounds": None if self.rounds is None else asdict(self.rounds),
            "by_distance": [
                {
                    "distance": each.distance,
                    "pairs": each.pairs,
                    "reconstructed": each.reconstructed,
                    "mean_share": each.mean,
                    "largest_share": each.largest,
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
                    "mean_share": each.mean,
                    "reconstructed": each.reconstructed,
                    "others": each.others,
                }
                for each in self.coalitions
            ],
            "observers": list(self.observers),
            "losses": self.losses.tolist(),
            "epsilons": self.epsilons(),
        }

    def epsilons(self) -> list[list[float]]:
        """ε of each observer and node."""
        return [
            [_guarantee(loss, self.noise, self.delta).epsilon for loss in row] for row in self.losses.tolist()
        ]


def report_of(
    run: LinearRun,
    *,
    noise: float,
    delta: float,
    observers: Sequence[int] | None = None,
    coalitions: Sequence[int] = (),
    training: PrivateTraining | None = None,
    rounds: RoundsLoss | None = None,
    on_observer: Callable[[int], None] = lambda number: None,
) -> PrivacyReport:
    """Account for a run.

    Parameters
    ----------
    run : LinearRun
    noise : float
        σ/Δ of each value.
    delta : float
    observers : sequence of int, optional
        All nodes unless given; of more than 200, as many spread evenly.
    coalitions : sequence of int
        Sizes of coalitions to look for.
    training : PrivateTraining, optional
        What the run declares of its training steps.
    rounds : RoundsLoss, optional
        What its algorithm declares of its noise.
    on_observer : callable, optional
        Told how many observers are done.
    """
    values = np.bincount(run.owners, minlength=run.nodes)
    if not values.any():
        raise NotAccountable("nothing in the run is private", expected="values of nodes, or training")
    watching = _watching(run, observers)
    losses, published, distances, computed = [], [], [], []
    for done, observer in enumerate(watching):
        on_observer(done)
        known = knowledge_of(run, [observer])
        losses.append(known.losses())
        computed.append(_all_computed(known))
        distances.append(run.distances_to(observer))
        if values.max() == 1:
            bound = np.zeros(run.nodes)
            bound[run.owners] = muffliato_pairwise(run, [observer])
            published.append(bound)
    matrix, apart = np.array(losses), np.array(distances)
    other = (apart != 0) & (values > 0)
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
                computed=np.array(computed),
                published=np.array(published) if published else None,
                guarantee=lambda loss: _guarantee(loss, noise, delta),
            )
            for distance in sorted(np.unique(apart[other]), key=lambda each: each if each >= 0 else run.nodes)
        ),
        coalitions=tuple(_coalition(run, size) for size in coalitions),
        local=_guarantee(float(values.max()), noise, delta),
        worst=_guarantee(float(matrix[place]), noise, delta),
        worst_pair=(watching[int(place[0])], int(place[1])),
        rounds=rounds,
        sampled=None if training is None else training.worst(values, delta=delta),
    )


def _watching(run: LinearRun, observers: Sequence[int] | None) -> list[int]:
    if observers is not None:
        return list(observers)
    count = min(run.nodes, _ALL_OBSERVERS)
    return [int(number) for number in np.linspace(0, run.nodes - 1, count).round()]


def _all_computed(known: Knowledge) -> NDArray[np.bool_]:
    """Of which nodes all noisy values can be computed, bool ``[nodes]``."""
    owners, nodes = known.run.owners, known.run.nodes
    hidden = np.bincount(owners, weights=~known.reconstructed(), minlength=nodes)
    computed: NDArray[np.bool_] = (hidden == 0) & (np.bincount(owners, minlength=nodes) > 0)
    return computed


def _distance(
    distance: int,
    pairs: NDArray[np.bool_],
    *,
    losses: Floats,
    shares: Floats,
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
        published=None if published is None else float(published[pairs].max()),
        above_published=above,
        guarantee=guarantee(float(losses[pairs].max())),
    )


def _coalition(run: LinearRun, size: int) -> Coalition:
    if not 1 <= size < run.nodes:
        raise NotAccountable(
            "a coalition leaves somebody out", expected=f"1 … {run.nodes - 1} members", got=size
        )
    if math.comb(run.nodes, size) <= _MOST_COALITIONS:
        known = max((knowledge_of(run, each) for each in combinations(range(run.nodes), size)), key=_gain)
        return _described(known, "the worst of all")
    members: tuple[int, ...] = ()
    while len(members) < size:
        known = max(
            (knowledge_of(run, {*members, each}) for each in _candidates(members, run.nodes)), key=_gain
        )
        members = known.observers
    return _described(known, "greedily, each member the one that adds most")


def _candidates(members: tuple[int, ...], nodes: int) -> Iterable[int]:
    """Nodes that may join a coalition: all others, or as many as can be tried, spread evenly."""
    others = [each for each in range(nodes) if each not in members]
    return others[:: max(1, len(others) // _CANDIDATES)]


def _shares_of_others(known: Knowledge) -> Floats:
    counts = np.bincount(known.run.owners, minlength=known.run.nodes)
    counted = counts > 0
    counted[list(known.observers)] = False
    shares: Floats = known.losses()[counted] / counts[counted]
    return shares


def _gain(known: Knowledge) -> float:
    shares = _shares_of_others(known)
    return float(shares.mean()) if len(shares) else 0.0


def _described(known: Knowledge, chosen: str) -> Coalition:
    computed = _all_computed(known)
    computed[list(known.observers)] = False
    return Coalition(
        members=known.observers,
        chosen=chosen,
        mean=_gain(known),
        reconstructed=int(computed.sum()),
        others=len(_shares_of_others(known)),
    )


def _guarantee(loss: float, noise: float, delta: float) -> Guarantee:
    return _cached_guarantee(float(f"{math.sqrt(loss) / noise:.12g}"), delta)


@lru_cache(maxsize=100_000)
def _cached_guarantee(mu: float, delta: float) -> Guarantee:
    return gaussian_guarantee(mu, delta=delta)


def _dict_of(guarantee: Guarantee) -> dict[str, float]:
    return {"epsilon": guarantee.epsilon, "epsilon_by_rdp": guarantee.epsilon_by_rdp}
