"""Settings of the peer-sampling protocols, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from topology.errors import InvalidParameter

__all__ = ["BrahmsSettings", "CyclonSettings", "HyParViewSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrahmsSettings:
    """Settings of Brahms. With view size 20, α = β = 0.05 and γ = 0.3 of the paper.

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

    view_size: int = 20
    samples: int = 20
    partners: int = 4
    told: int = 8
    probes: int = 8
    renewal: int = 5
    pushes: int = 1
    pulls: int = 1
    history: int = 6

    def __post_init__(self) -> None:
        _require("view_size", self.view_size, 1, None)
        _require("samples", self.samples, 1, None)
        _require("partners", self.partners, 1, self.view_size)
        _require("told", self.told, 1, None)
        _require("probes", self.probes, 1, None)
        _require("renewal", self.renewal, 1, None)
        _require("pushes", self.pushes, 1, self.view_size)
        _require("pulls", self.pulls, 0, self.probes)
        _require("history", self.history, 0, self.view_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclonSettings:
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

    view_size: int = 20
    shuffle_length: int = 8
    healing: int = 0
    join_hops: int = 5

    def __post_init__(self) -> None:
        _require("view_size", self.view_size, 1, None)
        _require("shuffle_length", self.shuffle_length, 1, self.view_size)
        _require("healing", self.healing, 0, self.view_size // 2)
        _require("join_hops", self.join_hops, 0, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HyParViewSettings:
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

    active_size: int = 5
    passive_size: int = 30
    active_walk: int = 6
    passive_walk: int = 3
    shuffle_active: int = 3
    shuffle_passive: int = 4

    def __post_init__(self) -> None:
        _require("active_size", self.active_size, 2, None)
        _require("passive_size", self.passive_size, 1, None)
        _require("active_walk", self.active_walk, 1, None)
        _require("passive_walk", self.passive_walk, 0, self.active_walk)
        _require("shuffle_active", self.shuffle_active, 0, self.active_size)
        _require("shuffle_passive", self.shuffle_passive, 0, self.passive_size)

    @property
    def shuffle_length(self) -> int:
        """Peers a shuffle carries at most: its origin, and some of both views."""
        return 1 + self.shuffle_active + self.shuffle_passive


def _require(name: str, value: int, lowest: int, highest: int | None) -> None:
    if value < lowest or (highest is not None and value > highest):
        span = f"{name} ≥ {lowest}" if highest is None else f"{lowest} ≤ {name} ≤ {highest}"
        raise InvalidParameter(f"the setting {name!r} is out of its range", expected=span, got=value)
