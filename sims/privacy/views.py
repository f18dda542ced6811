"""Knowledge that observers have of a run, whatever noise it has, and the coalitions that know most."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations

from sims.privacy.bounds import Bound
from sims.privacy.conditioning import View, view_of
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.linear_run import LinearRun
from sims.privacy.row_space import Floats

__all__ = ["Coalition", "known_to", "worst_coalition"]

_MOST_COALITIONS = 400
_CANDIDATES = 24


def known_to(run: LinearRun, observers: Collection[int]) -> View:
    """What observers know: by the row space of what they saw where values have equal noise, else by conditioning.

    Losses are in units of the loss of one noisy value in the former case, and μ² in the latter.
    """
    if run.noise is not None:
        return view_of(run, observers)
    known = knowledge_of(run, observers)
    return View(losses=known.losses(), computed=known.computed())


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalition:
    """Nodes that share what they see.

    Parameters
    ----------
    members : tuple of int
    chosen : str
        How they were found among all sets of their number.
    mean, largest : float
        What the other nodes lose to them, for each of their values: a share of what the noisy values give away by
        themselves, or μ².
    loss : float
        Square shift of the node that loses most.
    reconstructed : int
        Of how many others all noisy values can be computed.
    others : int
    """

    members: tuple[int, ...]
    chosen: str
    mean: float
    largest: float
    loss: float
    reconstructed: int
    others: int


def worst_coalition(
    run: LinearRun, size: int, *, listening: Collection[int] = (), bound: Bound | None = None
) -> Coalition:
    """Find the coalition of so many nodes that knows most of the others, among all or by adding one after another.

    Parameters
    ----------
    run : LinearRun
    size : int
    listening : collection of int
        Nodes that are with them and not counted, as the last one of `LinearRun.overheard` is.
    bound : Bound, optional
        What they know at most, instead of exactly.
    """
    nodes = run.nodes - len(listening)
    if not 1 <= size < nodes:
        raise NotAccountable("a coalition leaves somebody out", expected=f"1 … {nodes - 1} members", got=size)

    def coalition(members: Collection[int], chosen: str) -> Coalition:
        return _described(run, sorted(members), listening, chosen, bound)

    if math.comb(nodes, size) <= _MOST_COALITIONS:
        every = combinations(range(nodes), size)
        return max((coalition(each, "the worst of all") for each in every), key=_gain)
    best: Coalition | None = None
    while best is None or len(best.members) < size:
        members = () if best is None else best.members
        how = "greedily, each member the one that adds most"
        best = max((coalition({*members, each}, how) for each in _candidates(members, nodes)), key=_gain)
    return best


def _candidates(members: tuple[int, ...], nodes: int) -> Iterable[int]:
    """Nodes that may join a coalition: all others, or as many as can be tried, spread evenly."""
    others = [each for each in range(nodes) if each not in members]
    return others[:: max(1, len(others) // _CANDIDATES)]


def _described(
    run: LinearRun, members: list[int], listening: Collection[int], chosen: str, bound: Bound | None
) -> Coalition:
    view = known_to(run, [*members, *listening]) if bound is None else bound.view(run, members)
    counts = run.counts
    counted = counts > 0
    counted[[*members, *listening]] = False
    losses: Floats = view.losses[counted]
    shares = losses / counts[counted]
    return Coalition(
        members=tuple(members),
        chosen=chosen,
        mean=float(shares.mean()) if len(shares) else 0.0,
        largest=float(shares.max(initial=0.0)),
        loss=float(losses.max(initial=0.0)),
        reconstructed=int(view.computed[counted].sum()),
        others=len(shares),
    )


def _gain(coalition: Coalition) -> tuple[float, int]:
    return coalition.mean, coalition.reconstructed
