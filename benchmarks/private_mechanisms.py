"""Accuracy on digits of mechanisms of differential privacy at the same ε, each with its best step size and rounds.

`python benchmarks/private_mechanisms.py --epsilon 8 2` does all of it. Where dp-accounting is missing, the noise of
Poisson sampling can be brought from a machine that has it (`--write-noise FILE` there, `--noise FILE` here), and the
work be divided (`--part 0/4 --out FILE`), to be put together by `--table FILE…`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from gossipfl.algorithms import DECOR
from gossipfl.privacy.factorised import sensitivities
from gossipfl.privacy.gaussian import largest_shift
from sims.engine import RoundEngine
from sims.scenario import parse_scenario
from sims.world import build_world
from sims.world.networks import round_network

DELTA, NODES, BATCH, CLIP = 1e-5, 16, 16, 1.0
SAMPLES = 1437 // NODES
RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
ROUNDS = (10, 30, 100)
SCENARIO = """
seed = {seed}
[population]
nodes = {nodes}
[task]
name = "digits"
[topology]
name = "random_regular"
degree = 4
[training]
seed = {seed}
learning_rate = {rate}
batch_size = {batch}
{training}
[algorithm]
{algorithm}
[stop]
rounds = {rounds}
{more}
"""


@dataclass(frozen=True)
class Mechanism:
    """A mechanism, what it hides, and its part of a scenario for so many rounds at an ε."""

    name: str
    hides: str
    parts: object


def mechanisms(noise_of_samples):
    """All of them; the noise of Poisson sampling by a function of (ε, rounds)."""
    yield Mechanism("without noise", "–", lambda epsilon, rounds: {})
    yield Mechanism(
        "DP-SGD, Poisson",
        "a sample",
        lambda epsilon, rounds: private(noise_of_samples(epsilon, rounds)),
    )
    for bands in (1, 8):
        yield Mechanism(f"DP-SGD, cyclic, bands = {bands}", "a sample", partial(cyclic, bands=bands))
    for mixings in (1, 4):
        yield Mechanism(f"`muffliato_sgd`, mixings = {mixings}", "a gradient", partial(muffliato, mixings))
    for colluding in (1, 0):
        yield Mechanism(f"`decor`, colluding = {colluding}", "a gradient", partial(decor, colluding))
    yield Mechanism("noise on what leaves", "a row", leaving)


def private(multiplier, more=""):
    return {"training": f"privacy = {{clip={CLIP},noise_multiplier={multiplier}{more}}}"}


def cyclic(epsilon, rounds, *, bands):
    apart = math.ceil(SAMPLES / BATCH)
    moved = float(np.linalg.norm(sensitivities(bands, apart=apart, steps=rounds)))
    return private(moved / largest_shift(epsilon, DELTA), f",sampling='cyclic',bands={bands}")


def muffliato(mixings, epsilon, rounds):
    deviation = 2 * CLIP * math.sqrt(rounds) / largest_shift(epsilon, DELTA)
    written = f"name = 'muffliato_sgd'\nclip = {CLIP}\ndeviation = {deviation}\nmixings = {mixings}"
    return {"algorithm": written}


def decor(colluding, epsilon, rounds):
    def written(noise):
        of_links = f"edge_deviation = {10 * noise}\ncolluding = {colluding}"
        return {"algorithm": f"name = 'decor'\nclip = {CLIP}\ndeviation = {noise}\n{of_links}"}

    linked = round_network(parse_scenario(text(written(1.0), rounds=1))).sequence.matrix(0).toarray() != 0
    np.fill_diagonal(linked, val=False)
    unit = float(DECOR(clip=CLIP, edge_deviation=10.0, colluding=colluding).shifts(linked).max())
    return written(unit * math.sqrt(rounds) / largest_shift(epsilon, DELTA))


def leaving(epsilon, rounds, norm=3.0):
    deviation = 2 * norm * math.sqrt(rounds) / largest_shift(epsilon, DELTA)
    noise = f"[[outgoing]]\nkind='noise'\ndeviation={deviation}"
    return {"more": f"[[outgoing]]\nkind='clip'\nnorm={norm}\n{noise}"}


def noise_of_poisson(epsilon, rounds):
    """The least noise multiplier whose ε is not above the wanted one."""
    from gossipfl.privacy.sampled_gaussian import Mechanism as Step
    from gossipfl.privacy.sampled_gaussian import sampled_epsilon

    low, high = 0.05, 1e3
    for _ in range(40):
        middle = math.sqrt(low * high)
        found = sampled_epsilon({Step(BATCH / SAMPLES, middle): rounds}, delta=DELTA)
        low, high = (low, middle) if found <= epsilon else (middle, high)
    return high


def text(parts, *, rounds, rate=0.3, seed=0):
    of_all = {"algorithm": "name = 'd_psgd'", "training": "", "more": ""}
    return SCENARIO.format(
        nodes=NODES, batch=BATCH, rounds=rounds, rate=rate, seed=seed, **{**of_all, **parts}
    )


def accuracy(parts, *, rounds, rate, seed):
    """Mean accuracy of all nodes' models in the end."""
    scenario = parse_scenario(text(parts, rounds=rounds, rate=rate, seed=seed))
    world = build_world(scenario)
    engine = RoundEngine(world, round_network(scenario), compile_when="never")
    for _ in range(rounds):
        engine.run_round()
    engine.close()
    with torch.no_grad():
        rows = torch.nan_to_num(engine.models(), nan=0.0, posinf=0.0, neginf=0.0)
        found = [world.task.evaluate(row[None], world.test_inputs, world.test_targets) for row in rows]
    return mean(float(each["accuracy"].mean()) for each in found)


def measured(mechanism, epsilon, given):
    """The best step size and number of rounds by seed 0, and the accuracy of other seeds with them."""
    tried = {}
    for rounds, rate in product(given.rounds, given.rates):
        parts = mechanism.parts(epsilon, rounds)
        tried[rounds, rate] = accuracy(parts, rounds=rounds, rate=rate, seed=0)
    rounds, rate = max(tried, key=lambda each: tried[each])
    parts = mechanism.parts(epsilon, rounds)
    found = [accuracy(parts, rounds=rounds, rate=rate, seed=1 + seed) for seed in range(given.seeds)]
    return {
        "mechanism": mechanism.name,
        "hides": mechanism.hides,
        "epsilon": epsilon,
        "rounds": rounds,
        "rate": rate,
        "accuracies": found,
        "tried": [[*place, accuracy] for place, accuracy in tried.items()],
    }


def said(lines):
    """The table of lines of results."""
    epsilons = sorted({each["epsilon"] for each in lines}, reverse=True)
    rows = {}
    for each in lines:
        found = each["accuracies"]
        cell = f"{mean(found):.3f} ({min(found):.3f}–{max(found):.3f}); {each['rate']:g}, {each['rounds']}"
        rows.setdefault((each["mechanism"], each["hides"]), {})[each["epsilon"]] = cell
    yield "| mechanism | hides | " + " | ".join(f"ε = {epsilon:g}" for epsilon in epsilons) + " |"
    yield "|---" * (2 + len(epsilons)) + "|"
    for (name, hides), cells in rows.items():
        yield f"| {name} | {hides} | {' | '.join(cells.get(epsilon, '') for epsilon in epsilons)} |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epsilon", type=float, nargs="*", default=[8.0, 2.0])
    parser.add_argument("--rates", type=float, nargs="*", default=RATES)
    parser.add_argument("--rounds", type=int, nargs="*", default=ROUNDS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", default="0/1", help="which part of all work to do, such as 0/4")
    parser.add_argument("--noise", type=Path, help="noise multipliers of Poisson sampling, as written before")
    parser.add_argument("--write-noise", type=Path, help="write these, and end")
    parser.add_argument("--out", type=Path, help="where lines of results are added, as JSON")
    parser.add_argument("--table", type=Path, nargs="*", help="print the table of these lines, and end")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.table:
        lines = [json.loads(line) for path in given.table for line in path.read_text("utf-8").splitlines()]
        order = [each.name for each in mechanisms(noise_of_poisson)]
        print(*said(sorted(lines, key=lambda each: order.index(each["mechanism"]))), sep="\n")
        return
    noise = noise_of_poisson
    if given.write_noise:
        known = {f"{e:g} {r}": noise(e, r) for e, r in product(given.epsilon, given.rounds)}
        given.write_noise.write_text(json.dumps(known), "utf-8")
        return
    if given.noise:
        known = json.loads(given.noise.read_text("utf-8"))
        noise = lambda epsilon, rounds: known[f"{epsilon:g} {rounds}"]  # noqa: E731
    part, parts = map(int, given.part.split("/"))
    lines = []
    for epsilon, mechanism in list(product(given.epsilon, mechanisms(noise)))[part::parts]:
        lines.append(measured(mechanism, epsilon, given))
        print(json.dumps(lines[-1]), file=sys.stderr, flush=True)
        if given.out:
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(lines[-1]) + "\n")
    print(*said(lines), sep="\n")


if __name__ == "__main__":
    main()
