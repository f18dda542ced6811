"""Settings of the peer-sampling protocols, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from topology.errors import InvalidParameter

__all__ = ["BrahmsSettings", "CyclonSettings", "HyParViewSettings"]


def bounded(default: int, *, least: int, most: str | None = None, divided_by: int = 1) -> int:
    """A setting from `least` to, if given, the setting `most`, or that `divided_by` a number."""
    bounds = {"least": least, "most": most, "divided_by": divided_by}
    number: int = field(default=default, metadata=bounds)
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounded:
    """Settings within the bounds that their declarations name."""

    def __post_init__(self) -> None:
        for each in fields(self):
            name, value, least = each.name, getattr(self, each.name), each.metadata["least"]
            most = (
                each.metadata["most"] and getattr(self, each.metadata["most"]) // each.metadata["divided_by"]
            )
            if value < least or (most is not None and value > most):
                span = f"{name} ≥ {least}" if most is None else f"{least} ≤ {name} ≤ {most}"
                raise InvalidParameter(f"the setting {name!r} is out of its range", expected=span, got=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrahmsSettings(_Bounded):
    """Settings of Brahms; the defaults are those of peers.

    Attributes
    ----------
    view_size : int
        Entries of the view (ℓ₁ in the paper); above log n.
    samples : int
        Samplers (ℓ₂ in the paper).
    partners : int
        Peers of the view that are asked for others in a period.
    told : int
        Names that a reply holds.
    probes : int
        Names heard that are asked in a period, to be believed once they answer.
    counters : int
        Places of each tally of names; more than the hostile members that are to be told apart.
    renewal : int
        Periods from one renewal of the view to the next. Before, whatever answers fills the room there is.
    pushes : int
        Peers that pushed themselves in a period and are let in; at a renewal they are α·ℓ₁.
    pulls : int
        Names of those asked that enter at a renewal (β·ℓ₁).
    history : int
        Samples that enter at a renewal (γ·ℓ₁).

    Raises
    ------
    InvalidParameter
        If one of them is out of its range.
    """

    view_size: int = bounded(15, least=1)
    samples: int = bounded(15, least=1)
    partners: int = bounded(2, least=1, most="view_size")
    told: int = bounded(15, least=1)
    probes: int = bounded(4, least=1)
    renewal: int = bounded(5, least=1)
    pushes: int = bounded(1, least=1, most="view_size")
    pulls: int = bounded(2, least=0, most="probes")
    history: int = bounded(2, least=0, most="view_size")
    counters: int = bounded(8192, least=1)

    @property
    def requests(self) -> int:
        """Peers asked in a period, at most, so that in an honest network as many ask a peer on average."""
        return self.partners + self.probes + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclonSettings(_Bounded):
    """Settings of Cyclon; the defaults are those of the paper's experiments.

    Attributes
    ----------
    view_size : int
        Entries a peer keeps (c in the paper).
    shuffle_length : int
        Entries swapped at a time (ℓ in the paper), from 1 to `view_size`.
    healing : int
        Of the oldest entries, how many make room first when views are merged, from 0 to `view_size` / 2
        (H in Jelasity et al. 2007). 0 is Cyclon as published.
    join_hops : int
        Length of the random walks that let a newcomer in.

    Raises
    ------
    InvalidParameter
        If one of them is out of its range.
    """

    view_size: int = bounded(20, least=1)
    shuffle_length: int = bounded(8, least=1, most="view_size")
    healing: int = bounded(0, least=0, most="view_size", divided_by=2)
    join_hops: int = bounded(5, least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HyParViewSettings(_Bounded):
    """Settings of HyParView; the defaults are those of section 5.1 of the paper, for 10,000 peers.

    Attributes
    ----------
    active_size : int
        Neighbours kept connected: the fan-out plus one.
    passive_size : int
        Spare peers kept for repair; to survive large failures, above log n.
    active_walk : int
        Hops a newcomer's announcement travels (ARWL), and those of a shuffle.
    passive_walk : int
        With this many hops left the announcement enters a passive view (PRWL), at most `active_walk`.
    shuffle_active, shuffle_passive : int
        Peers of either view that a shuffle carries (kₐ and kₚ).

    Raises
    ------
    InvalidParameter
        If one of them is out of its range.
    """

    active_size: int = bounded(5, least=2)
    passive_size: int = bounded(30, least=1)
    active_walk: int = bounded(6, least=1)
    passive_walk: int = bounded(3, least=0, most="active_walk")
    shuffle_active: int = bounded(3, least=0, most="active_size")
    shuffle_passive: int = bounded(4, least=0, most="passive_size")

    @property
    def shuffle_length(self) -> int:
        """Peers a shuffle carries at most: its origin, and some of both views."""
        return 1 + self.shuffle_active + self.shuffle_passive
