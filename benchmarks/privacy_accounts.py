"""Seconds to account for 1,000 nodes and 1,000 rounds of averaging: `python benchmarks/privacy_accounts.py`.

Finding the linear run of a scenario is timed by itself, and then each observer.
"""

from __future__ import annotations

import argparse
import time
from statistics import mean

import numpy as np

from sims.privacy.sources import run_of_scenario
from sims.privacy.value_noise import ValueNoise, with_noise_on_values
from sims.privacy.views import known_to
from sims.scenario import parse_scenario

SCENARIO = """
[population]
nodes = {nodes}
[task]
name = "sims.scenarios.averages:averages"
partition = "contiguous"
options = {{ nodes = {nodes} }}
[topology]
{topology}
[algorithm]
{algorithm}
[training]
enabled = false
[stop]
rounds = {rounds}
{more}
"""
REGULAR, MATCHING = "name = 'random_regular'\ndegree = 4", "name = 'random_matching'"
ROUNDS, GOSSIP = "name = 'muffliato'\ndeviation = 1.0", "name = 'gossip_learning'\nexchange = 'push'"
LEAVING = "[[outgoing]]\nkind = 'noise'\ndeviation = 0.1"
LOSSES = "[network]\nloss = 0.1"
CASES = {
    "random regular of degree 4, muffliato": (REGULAR, ROUNDS, ""),
    "another matching each round, muffliato": (MATCHING, ROUNDS, ""),
    "random regular, gossip, a tenth of the messages lost": (REGULAR, GOSSIP, LOSSES),
    "random regular, muffliato, noise on what leaves": (REGULAR, ROUNDS, LEAVING),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--observers", type=int, default=2)
    parser.add_argument("--only", type=int, nargs="*", default=range(len(CASES)))
    given = parser.parse_args()
    print("| case | values and noise | finding the run, s (CPU) | an observer, s (CPU) | mean share or μ² |")
    for name in [list(CASES)[place] for place in given.only]:
        topology, algorithm, more = CASES[name]
        scenario = parse_scenario(
            SCENARIO.format(
                nodes=given.nodes, rounds=given.rounds, topology=topology, algorithm=algorithm, more=more
            )
        )
        began, worked = time.perf_counter(), time.process_time()
        alike = ValueNoise(sensitivities=np.ones(given.nodes), deviations=np.ones(given.nodes))
        run = with_noise_on_values(run_of_scenario(scenario), alike)
        found = time.perf_counter() - began, time.process_time() - worked
        began, worked, losses = time.perf_counter(), time.process_time(), []
        for observer in range(given.observers):
            view = known_to(run, [observer]).losses
            losses.append(view[np.arange(given.nodes) != observer].mean())
        each = [
            seconds / given.observers
            for seconds in (time.perf_counter() - began, time.process_time() - worked)
        ]
        print(
            f"| {name} | {len(run.owners):,} | {found[0]:.1f} ({found[1]:.1f}) | {each[0]:.1f} ({each[1]:.1f}) | "
            f"{mean(losses):.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
