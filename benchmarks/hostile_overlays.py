"""Overlays under members that push themselves: the share of hostile entries over time, Brahms beside Cyclon.

python -m benchmarks.hostile_overlays [--peers 10000] [--hostile 0.1] [--multiple 10] [--periods 200] [--probes 16]
    [--published]

Hostile members send so many times the honest rate of requests, each to a random honest peer, and tell of each other
alone. Cyclon's have the same multiple of its shuffles.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np

from topology.sampling import (
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


def row(name: str, period: int, views: np.ndarray, hostile: np.ndarray) -> None:
    held = views[~hostile]
    entries = held[held >= 0]
    degrees = np.bincount(entries, minlength=len(hostile))[~hostile]
    print(
        f"| {name} | {period} | {hostile[entries].mean():.1%} | {degrees.mean():.1f} "
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--hostile", type=float, default=0.1)
    parser.add_argument("--multiple", type=int, default=10)
    parser.add_argument("--periods", type=int, default=200)
    parser.add_argument("--every", type=int, default=25)
    parser.add_argument("--probes", type=int, default=16, help="names a peer asks in a period")
    parser.add_argument(
        "--published", action="store_true", help="the shares of the paper: α = β = 0.45, γ = 0.1"
    )
    chosen = parser.parse_args()
    generator = np.random.default_rng(1)
    print("| entries of honest peers | period | hostile | in-degree of the honest | known to nobody |")
    print("|---|---|---|---|---|")

    settings = CyclonSettings(view_size=20, shuffle_length=8)
    cyclon = cyclon_overlay(chosen.peers, generator=generator, settings=settings)
    hostile = np.arange(chosen.peers) >= chosen.peers - round(chosen.hostile * chosen.peers)
    for period in range(1, 26):
        cyclon = lied(cyclon, hostile, generator)
        cyclon, _ = cyclon_period(cyclon, draw_cyclon_period(cyclon, generator))
        for _ in range(chosen.multiple - 1):
            cyclon = lied(cyclon, hostile, generator)
            cyclon, _ = cyclon_period(cyclon, draw_cyclon_period(cyclon, generator), ticking=hostile)
        if period in (1, 5, 25):
            row("Cyclon", period, cyclon.views, hostile)

    began = time.perf_counter()
    shares = {"renewal": 1, "pushes": 9, "pulls": 9, "history": 2} if chosen.published else {}
    brahms = brahms_overlay(
        chosen.peers,
        generator=generator,
        hostile=chosen.hostile,
        settings=BrahmsSettings(partners=8, told=20, probes=chosen.probes, **shares),
    )
    for period in range(1, chosen.periods + 1):
        brahms = brahms_period(brahms, draw_brahms_period(brahms, generator, multiple=chosen.multiple))
        if period in (1, 5) or period % chosen.every == 0:
            row("Brahms, view", period, brahms.views, hostile)
            row("Brahms, samples", period, brahms.samples, hostile)
    print(f"\n{time.perf_counter() - began:.0f} s for {chosen.periods} periods of Brahms")


if __name__ == "__main__":
    main()
