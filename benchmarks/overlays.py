"""Cyclon and HyParView at the sizes of their papers: what an overlay is worth, and what it survives.

python -m benchmarks.overlays [--peers 100000] [--periods 60]

Beside every figure stands the baseline of the same run: a random graph of the same view size, or the paper's
own figure where it prints one. Times are of one core, loaded or not.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from topology.sampling import (
    CyclonOverlay,
    CyclonSettings,
    cyclon_overlay,
    cyclon_period,
    draw_cyclon_period,
    hyparview_overlay,
    hyparview_period,
    measures,
)

LOST = (0.5, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def shuffled(overlay: CyclonOverlay, periods: int, generator: np.random.Generator) -> CyclonOverlay:
    for _ in range(periods):
        overlay, _ = cyclon_period(overlay, draw_cyclon_period(overlay, generator))
    return overlay


def worth(name: str, overlay, generator: np.random.Generator) -> None:
    degrees = measures.in_degrees(overlay.views, overlay.alive)
    clustering = measures.clustering_coefficient(overlay.views, overlay.alive, generator=generator)
    path = measures.average_path_length(overlay.views, overlay.alive, generator=generator)
    print(
        f"| {name} | {degrees.mean():.2f} ± {degrees.std():.2f} ({degrees.min()}…{degrees.max()}) "
        f"| {clustering:.6f} | {path:.4f} |",
        flush=True,
    )


def cyclon(peers: int, periods: int, generator: np.random.Generator) -> None:
    print(f"\n## Cyclon, {peers:,} peers, view 20, shuffle length 8, from a ring lattice\n")
    print("| overlay | in-degree: mean ± sd (range) | clustering | path length |\n|---|---|---|---|")
    random = cyclon_overlay(peers, generator=generator)
    worth("random graph (baseline)", random, generator)
    began = time.perf_counter()
    overlay = shuffled(cyclon_overlay(peers, generator=generator, start="ring"), periods, generator)
    spent = time.perf_counter() - began
    worth(f"Cyclon after {periods} periods", overlay, generator)
    print(f"\n{spent:.0f} s for {periods} periods: {peers * periods / spent:,.0f} exchanges a second")
    print("\n| vanished at once | groups | outside the largest | a random graph's |\n|---|---|---|---|")
    for share in LOST:
        came, chance = (
            measures.connectedness_after_failure(o.views, o.alive, share, generator=generator)
            for o in (overlay, random)
        )
        outside, by_chance = came.peers - came.largest, chance.peers - chance.largest
        print(f"| {share:.0%} | {came.components} | {outside} of {came.peers:,} | {by_chance} |", flush=True)
    print("\nPeriods until no view names a vanished peer, after half of them vanished:\n")
    alive = measures.vanish(overlay.alive, 0.5, generator=generator)
    for healing in (0, 4, 8):
        torn = replace(overlay, alive=alive, settings=CyclonSettings(healing=healing))
        count, dead = 0, measures.dead_link_share(torn.views, alive)
        while dead > 0 and count < 200:
            torn, count = shuffled(torn, 1, generator), count + 1
            dead = measures.dead_link_share(torn.views, alive)
        print(f"* healing {healing}: {count}", flush=True)


def table_1(generator: np.random.Generator) -> None:
    print("\n## Table 1 of the HyParView paper: 10,000 peers\n")
    print("| overlay | in-degree: mean ± sd (range) | clustering | path length |\n|---|---|---|---|")
    settings = CyclonSettings(view_size=35, shuffle_length=14)
    overlay = shuffled(cyclon_overlay(10_000, generator=generator, settings=settings), 50, generator)
    worth("Cyclon, view 35", overlay, generator)
    print("| the paper's Cyclon | | 0.006836 | 2.60426 |")
    began = time.perf_counter()
    network = hyparview_overlay(10_000, generator=generator)
    for _ in range(50):
        network = hyparview_period(network, generator)
    spent = time.perf_counter() - began
    worth("HyParView, active view 5", network, generator)
    print("| the paper's HyParView | | 0.000920 | 6.38542 |")
    print(f"\n{spent:.0f} s for joining and 50 periods")
    print(
        "\n| vanished at once | reached at once | after 1 period | after 2 | after 4 |\n|---|---|---|---|---|"
    )
    for share in LOST:
        torn = replace(network, alive=measures.vanish(network.alive, share, generator=generator))
        reach = [measures.connectedness(torn.views, torn.alive).share]
        for _ in range(4):
            torn = hyparview_period(torn, generator)
            reach.append(measures.connectedness(torn.views, torn.alive).share)
        print(f"| {share:.0%} | {' | '.join(f'{reach[i]:.2%}' for i in (0, 1, 2, 4))} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=int, default=100_000)
    parser.add_argument("--periods", type=int, default=60)
    chosen = parser.parse_args()
    generator = np.random.default_rng(1)
    table_1(generator)
    cyclon(chosen.peers, chosen.periods, generator)
    began = time.perf_counter()
    hyparview_overlay(chosen.peers, generator=generator)
    print(f"\nHyParView: {chosen.peers:,} peers joined in {time.perf_counter() - began:.0f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
