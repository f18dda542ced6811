"""Accuracy on digits of mechanisms of differential privacy at the same ε: `python benchmarks/private_mechanisms.py`."""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
import torch

from gossipfl.algorithms import DECOR
from gossipfl.privacy.factorised import sensitivities
from gossipfl.privacy.gaussian import largest_shift
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from sims.engine import RoundEngine
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network

DELTA, NODES = 1e-5, 16
SCENARIO = """
[population]
nodes = {nodes}
[task]
name = "digits"
[topology]
name = "random_regular"
degree = 4
[training]
learning_rate = {rate}
batch_size = {batch}
{training}
[algorithm]
{algorithm}
[stop]
rounds = {rounds}
{more}
"""


def bisected(epsilon_of, wanted, low=0.05, high=1e4):
    """The smallest noise whose ε is not above the wanted one."""
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if epsilon_of(middle) <= wanted else (middle, high)
    return high


def text(algorithm="name = 'd_psgd'", *, rounds, training="", more="", batch=16, rate=0.5):
    return SCENARIO.format(
        nodes=NODES, algorithm=algorithm, training=training, more=more, rounds=rounds, batch=batch, rate=rate
    )


def accuracy(written, rounds):
    scenario = parse_scenario(written)
    world = build_world(scenario)
    engine = RoundEngine(world, round_network(scenario), compile_when="never")
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    rows = engine.models()
    with torch.no_grad():
        found = [world.task.evaluate(row[None], world.test_inputs, world.test_targets) for row in rows]
    return sum(float(each["accuracy"].mean()) for each in found) / len(found)


def mechanisms(epsilon, rounds):
    """Name, unit, and scenario of each."""
    samples = 1437 // NODES

    def of_samples(noise):
        return sampled_epsilon({Mechanism(16 / samples, noise): rounds}, delta=DELTA)

    noise = bisected(of_samples, epsilon)
    yield (
        "DP-SGD",
        "a sample",
        text(rounds=rounds, training=f"privacy = {{clip=1.0,noise_multiplier={noise}}}"),
    )
    mu, apart = largest_shift(epsilon, DELTA), math.ceil(samples / 16)
    for bands in (1, 8):
        noise = float(np.linalg.norm(sensitivities(bands, apart=apart, steps=rounds))) / mu
        privacy = f"privacy = {{clip=1.0,noise_multiplier={noise},sampling='cyclic',bands={bands}}}"
        yield f"DP-SGD, cyclic, {bands} bands", "a sample", text(rounds=rounds, training=privacy)
    deviation = 2 * math.sqrt(rounds) / mu
    for mixings in (1, 4):
        algorithm = f"name = 'muffliato_sgd'\ndeviation = {deviation}\nmixings = {mixings}"
        yield f"`muffliato_sgd`, {mixings} mixings", "a gradient", text(algorithm, rounds=rounds)
    for colluding in (1, 0):

        def decor(noise, colluding=colluding):
            return text(
                f"name = 'decor'\ndeviation = {noise}\nedge_deviation = {10 * noise}\ncolluding = {colluding}",
                rounds=rounds,
            )

        linked = round_network(parse_scenario(decor(1.0))).sequence.matrix(0).toarray() != 0
        np.fill_diagonal(linked, val=False)
        unit = DECOR(edge_deviation=10.0, colluding=colluding).shifts(linked).max()
        noise = float(unit) * math.sqrt(rounds) / mu
        yield f"`decor`, colluding = {colluding}", "a gradient", decor(noise)
    outgoing = f"[[outgoing]]\nkind='clip'\nnorm=3.0\n[[outgoing]]\nkind='noise'\ndeviation={6 * math.sqrt(rounds) / mu}"
    yield "noise on what leaves", "a row", text(rounds=rounds, more=outgoing)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--epsilon", type=float, nargs="*", default=[2.0, 8.0, 32.0])
    given = parser.parse_args()
    plain = accuracy(text(rounds=given.rounds), given.rounds)
    print(f"{NODES} nodes, degree 4, {given.rounds} rounds, δ = {DELTA}; without noise {plain:.3f}")
    rows = {}
    for epsilon in given.epsilon:
        for name, unit, written in mechanisms(epsilon, given.rounds):
            rows.setdefault((name, unit), []).append(f"{accuracy(written, given.rounds):.3f}")
            print(f"ε = {epsilon:g}: {name}: {rows[name, unit][-1]}", file=sys.stderr, flush=True)
    print("| mechanism | hides | " + " | ".join(f"ε = {epsilon:g}" for epsilon in given.epsilon) + " |")
    print("|---" * (2 + len(given.epsilon)) + "|")
    for (name, unit), cells in rows.items():
        print(f"| {name} | {unit} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
