"""Cost of a round of each algorithm, relative to D-PSGD on the same network and to its bare arithmetic.

    python -m benchmarks.algorithms [--nodes 10000] [--rounds 5] [--repeats 3] [--compile always] [--json]

Logistic regression on digits (650 parameters), 20 samples a node, batches of 8, one gradient a round and node. All
algorithms are set up in one process with one thread and take turns, so that a busy spell of the machine hits all alike;
the best of the repeats counts, in processor time.

The arithmetic alone: floating-point operations of gradients and mixing at the rate of BLAS, plus every array that the
update rule names read or written once from memory at the speed of a copy, both measured in the same run. Of an exchange,
each node reads a row of each neighbour. Batches, ages, keys, encoding and counting cost nothing in it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass

import torch
from torch import nn

from gossipfl.tasks import Task
from gossipfl.tasks.digits import load_digits
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.world import build_world

FEATURES, CLASSES, BATCH, DEGREE = 64, 10, 8, 20
PARAMETERS = (FEATURES + 1) * CLASSES

SCENARIO = """
seed = 1
[population]
nodes = {nodes}
[task]
name = "{task}"
samples_per_node = 20
[topology]
{topology}
[algorithm]
{algorithm}
[training]
batch_size = 8
learning_rate = 0.05
{training}
[stop]
rounds = 100000
"""

NETWORKS = {
    "20-regular": f'name = "random_regular"\ndegree = {DEGREE}',
    "one-peer": 'name = "one_peer_exponential"',
    "path": 'name = "path"',
    "cliques": 'name = "d_cliques"',
    "own": 'name = "complete"',
}
LINKS = {"20-regular": DEGREE, "one-peer": 1, "path": 2, "cliques": 9, "own": 0}


@dataclass(frozen=True)
class Contestant:
    """An algorithm on a network, and what its update rule reads and writes.

    ``arrays``: how many [N, D] arrays are read or written outside gradients and exchanges, those of the gradient step
    included; ``exchanged``: rows sent a round; ``links``: [L, D] arrays read or written for link ends.
    """

    name: str
    network: str
    algorithm: str
    arrays: int
    exchanged: int = 1
    links: int = 0
    training: str = ""
    neighbours: int | None = None


def rounds_of(name):
    return f'name = "{name}"'


CONTESTANTS = [
    Contestant("D-PSGD", "20-regular", rounds_of("d_psgd"), 3),
    Contestant("D-PSGD, momentum", "20-regular", rounds_of("d_psgd"), 6, training="momentum = 0.9"),
    Contestant(
        "DFedAvgM, 1 local step",
        "20-regular",
        rounds_of("dfedavg") + "\nepochs = 0",
        6,
        training="momentum = 0.9",
    ),
    Contestant("SGP", "20-regular", rounds_of("sgp"), 7),
    Contestant("exact diffusion", "20-regular", rounds_of("exact_diffusion"), 7),
    Contestant("D²", "20-regular", rounds_of("d_squared"), 8),
    Contestant("gradient tracking", "20-regular", rounds_of("gradient_tracking"), 7, exchanged=2),
    Contestant("QG-DSGDm", "20-regular", rounds_of("qg_dsgdm"), 10),
    Contestant("CHOCO-SGD, signs", "20-regular", rounds_of("choco") + '\ncodec = "sign"', 14),
    Contestant("CHOCO-SGD, top 10 %", "20-regular", rounds_of("choco") + '\ncodec = "top:0.1"', 14),
    Contestant("DeepSqueeze, 8 bits", "20-regular", rounds_of("deep_squeeze") + '\ncodec = "int8"', 12),
    Contestant(
        "PowerGossip, rank 1",
        "20-regular",
        rounds_of("power_gossip") + "\niterations = 1",
        3,
        exchanged=0,
        links=2,
    ),
    Contestant("trimmed mean", "20-regular", rounds_of("trimmed_mean") + "\nhostile = 2", 3),
    Contestant("clipped gossip", "20-regular", rounds_of("clipped_gossip") + "\nhostile = 2", 3),
    Contestant("Krum", "20-regular", rounds_of("krum") + "\nhostile = 2", 3),
    Contestant("gossip learning", "20-regular", rounds_of("gossip_learning"), 5, exchanged=0, neighbours=1),
    Contestant("AD-PSGD", "20-regular", rounds_of("ad_psgd"), 8, exchanged=0, neighbours=2),
    Contestant("push-sum", "20-regular", rounds_of("push_sum"), 7, exchanged=0, neighbours=1),
    Contestant(
        "epidemic learning",
        "own",
        rounds_of("epidemic_learning") + f"\ndegree = {DEGREE}",
        3,
        neighbours=DEGREE,
    ),
    Contestant("pooled SGD", "own", rounds_of("pooled_sgd"), 4, exchanged=0),
    Contestant("FedAvg", "own", rounds_of("fedavg") + "\nepochs = 0", 5, exchanged=0),
    Contestant("D-PSGD", "one-peer", rounds_of("d_psgd"), 3),
    Contestant("SGP", "one-peer", rounds_of("sgp"), 7),
    Contestant("gradient tracking", "one-peer", rounds_of("gradient_tracking"), 7, exchanged=2),
    Contestant("QG-DSGDm", "one-peer", rounds_of("qg_dsgdm"), 10),
    Contestant("D-PSGD", "path", rounds_of("d_psgd"), 3),
    Contestant("RelaySGD", "path", rounds_of("relay_sgd"), 5, exchanged=0, links=4),
    Contestant("D-PSGD", "cliques", rounds_of("d_psgd"), 3),
    Contestant("D-Cliques", "cliques", rounds_of("d_cliques"), 5, exchanged=1),
]


def logistic():
    """Logistic regression on digits."""
    return Task(name="logistic", model=lambda: nn.Linear(FEATURES, CLASSES), data=load_digits)


def machine_rates():
    """Floating-point operations a second of a matrix product, and bytes a second of a copy; one thread."""
    a = torch.randn(1024, 1024)
    source, target = torch.ones(64 << 20), torch.empty(64 << 20)
    product = min(timed(lambda: a @ a) for _ in range(5))
    copy = min(timed(lambda: target.copy_(source)) for _ in range(5))
    return 2 * 1024**3 / product, 2 * source.nbytes / copy


def timed(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def arithmetic_seconds(contestant, nodes, flops, bandwidth):
    """Lower bound of a round by the update rule alone."""
    links = LINKS[contestant.network] if contestant.neighbours is None else contestant.neighbours
    rows = nodes * PARAMETERS * 4
    gradient = 4 * BATCH * FEATURES * CLASSES * nodes
    gradient_bytes = nodes * BATCH * FEATURES * 4 + 2 * rows  # batches and rows read, gradients written
    mixing = 2 * links * contestant.exchanged * nodes * PARAMETERS
    mixing_bytes = (
        contestant.exchanged * (links + 2) * rows
    )  # neighbours' rows and one's own read, the mean written
    messages_bytes = 0 if contestant.exchanged else (contestant.neighbours or 0) * rows
    link_bytes = contestant.links * LINKS[contestant.network] * rows
    moved = gradient_bytes + mixing_bytes + messages_bytes + link_bytes + contestant.arrays * rows
    return (gradient + mixing) / flops + moved / bandwidth


def simulation(contestant, nodes, compile_when):
    scenario = parse_scenario(
        SCENARIO.format(
            nodes=nodes,
            task=f"{__name__}:logistic",
            topology=NETWORKS[contestant.network],
            algorithm=contestant.algorithm,
            training=contestant.training,
        )
    )
    world = build_world(scenario)
    return simulation_of(scenario, world, threads=1, compile_when=compile_when, device="cpu")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5, help="rounds timed together")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--compile", choices=("always", "never"), default="always")
    parser.add_argument("--only", nargs="*", help="names of algorithms; D-PSGD always runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    contestants = [c for c in CONTESTANTS if not arguments.only or c.name in ("D-PSGD", *arguments.only)]
    simulations, best, sent = {}, {}, {}
    for contestant in contestants:
        key = (contestant.name, contestant.network)
        simulations[key] = simulation(contestant, arguments.nodes, arguments.compile)
        simulations[key].advance(2, between=lambda: False)  # whatever is made on first use
    flops, bandwidth = machine_rates()
    done = 2
    for _ in range(arguments.repeats):
        for key, each in simulations.items():
            before = each.counts()["bytes"]
            until = done + arguments.rounds
            seconds = timed(lambda each=each, until=until: each.advance(until, between=lambda: False))
            best[key] = min(best.get(key, float("inf")), seconds / arguments.rounds)
            sent[key] = (each.counts()["bytes"] - before) / arguments.rounds / arguments.nodes
        done += arguments.rounds
    rows = []
    for contestant in contestants:
        key, network = (contestant.name, contestant.network), contestant.network
        baseline = best["D-PSGD", "20-regular" if network == "own" else network]
        alone = arithmetic_seconds(contestant, arguments.nodes, flops, bandwidth)
        rows.append(
            {
                "algorithm": contestant.name,
                "network": network,
                "relative_to_d_psgd": best[key] / baseline,
                "relative_to_arithmetic": best[key] / alone,
                "seconds_per_round": best[key],
                "arithmetic_seconds": alone,
                "bytes_per_node_and_round": sent[key],
            }
        )
    if arguments.json:
        print(json.dumps({"flops": flops, "bandwidth": bandwidth, "rounds": rows}))
        return
    print(
        f"N = {arguments.nodes:,}, one thread: {flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s of copying"
    )
    print(
        f"{'algorithm':24} {'network':12} {'÷ D-PSGD':>9} {'÷ arithmetic':>13} {'ms a round':>11} {'kB sent':>9}"
    )
    for row in rows:
        print(
            f"{row['algorithm']:24} {row['network']:12} {row['relative_to_d_psgd']:9.2f} "
            f"{row['relative_to_arithmetic']:13.1f} {1e3 * row['seconds_per_round']:11.1f} "
            f"{row['bytes_per_node_and_round'] / 1e3:9.2f}"
        )


if __name__ == "__main__":
    main()
