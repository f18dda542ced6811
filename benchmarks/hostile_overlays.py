"""Overlays under members that push themselves: the share of hostile entries over time, Brahms beside Cyclon.

python -m benchmarks.hostile_overlays [--peers 10000] [--hostile 0.1] [--multiple 10] [--periods 200] [--every 25]
    [--newcomers 100] [--plain] [--without-cyclon]

Hostile members send so many times the honest rate of requests, each to a random honest peer, and tell of each other
alone. Cyclon's have the same multiple of its shuffles. Half-way, newcomers join through one honest peer each.
`--plain` is Brahms that counts nothing.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from topology.sampling import (
    BrahmsOverlay,
    BrahmsSettings,
    CyclonOverlay,
    CyclonSettings,
    brahms_overlay,
    brahms_period,
    cyclon_overlay,
    cyclon_period,
    draw_brahms_period,
    draw_cyclon_period,
)


def row(name: str, period: int, entries: np.ndarray, hostile: np.ndarray, rows: np.ndarray) -> None:
    """Print what the entries of some honest peers say, and in how many rows of all the honest each of them is."""
    own = entries[rows][entries[rows] >= 0]
    held = entries[~hostile]
    degrees = np.bincount(held[held >= 0], minlength=len(hostile))[rows]
    print(
        f"| {name} | {period} | {hostile[own].mean():.1%} | {degrees.mean():.1f} "
        f"({degrees.min()}…{degrees.max()}) | {np.mean(degrees == 0):.2%} |",
        flush=True,
    )


def lied(overlay: CyclonOverlay, hostile: np.ndarray, generator: np.random.Generator) -> CyclonOverlay:
    """Give hostile peers a view of each other, and as its oldest entry the honest peer they turn to next."""
    liars, honest = np.flatnonzero(hostile), np.flatnonzero(~hostile)
    views, ages = overlay.views.copy(), overlay.ages.copy()
    views[liars] = generator.choice(liars, size=(len(liars), views.shape[1]))
    views[liars, 0] = generator.choice(honest, size=len(liars))
    ages[liars], ages[liars, 0] = 0, 2**30
    return replace(overlay, views=views, ages=ages)


def run_cyclon(peers: int, hostile_share: float, multiple: int, generator: np.random.Generator) -> None:
    settings = CyclonSettings(view_size=20, shuffle_length=8)
    cyclon = cyclon_overlay(peers, generator=generator, settings=settings)
    hostile = np.arange(peers) >= peers - round(hostile_share * peers)
    for period in range(1, 26):
        cyclon = lied(cyclon, hostile, generator)
        cyclon, _ = cyclon_period(cyclon, draw_cyclon_period(cyclon, generator))
        for _ in range(multiple - 1):
            cyclon = lied(cyclon, hostile, generator)
            cyclon, _ = cyclon_period(cyclon, draw_cyclon_period(cyclon, generator), ticking=hostile)
        if period in (1, 5, 25):
            row("Cyclon", period, cyclon.views, hostile, np.flatnonzero(~hostile))


def joined(overlay: BrahmsOverlay, newcomers: np.ndarray, generator: np.random.Generator) -> BrahmsOverlay:
    """Overlay in which newcomers live that know one honest peer each."""
    views, alive = overlay.views.copy(), overlay.alive.copy()
    views[newcomers, 0] = generator.choice(np.flatnonzero(overlay.honest), size=len(newcomers))
    views[newcomers, 1:], alive[newcomers] = -1, True
    return replace(overlay, views=views, alive=alive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--hostile", type=float, default=0.1)
    parser.add_argument("--multiple", type=int, default=10)
    parser.add_argument("--periods", type=int, default=200)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--newcomers", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--without-cyclon", action="store_true")
    chosen = parser.parse_args()
    generator = np.random.default_rng(1)
    print("| entries of | period | hostile | in-degree: mean (range) | known to nobody |")
    print("|---|---|---|---|---|")
    if not chosen.without_cyclon:
        run_cyclon(chosen.peers, chosen.hostile, chosen.multiple, generator)

    began = time.process_time()
    settings = BrahmsSettings(counters=1) if chosen.plain else BrahmsSettings()
    brahms = brahms_overlay(chosen.peers, generator=generator, hostile=chosen.hostile, settings=settings)
    newcomers = np.arange(chosen.newcomers)
    settled = np.arange(chosen.newcomers, np.count_nonzero(~brahms.hostile))
    brahms = replace(brahms, alive=~np.isin(np.arange(chosen.peers), newcomers))
    for period in range(1, chosen.periods + 1):
        if period == chosen.periods // 2 and chosen.newcomers:
            brahms = joined(brahms, newcomers, generator)
        brahms = brahms_period(brahms, draw_brahms_period(brahms, generator, multiple=chosen.multiple))
        if period in (1, 5) or period % chosen.every == 0:
            row("Brahms, views", period, brahms.views, brahms.hostile, settled)
            row("Brahms, samples", period, brahms.samples, brahms.hostile, settled)
            if brahms.alive.all() and chosen.newcomers:
                row("newcomers, views", period, brahms.views, brahms.hostile, newcomers)
                row("newcomers, samples", period, brahms.samples, brahms.hostile, newcomers)
    print(f"\n{time.process_time() - began:.0f} s of processor time for {chosen.periods} periods of Brahms")


if __name__ == "__main__":
    main()
