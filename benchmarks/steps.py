"""Single steps of the project, each in seconds of processor time, for `benchmarks/compare.py` or to be read.

    OMP_NUM_THREADS=1 python benchmarks/steps.py                       # all
    OMP_NUM_THREADS=1 python benchmarks/steps.py --only clock codecs   # those whose names begin so

Nothing here is run for its result: these are calls that compare.py's other benchmarks leave out, of the library alone,
in one process and with one thread, the least of ``--repeats`` and of half a second. The last line is a JSON object. The file needs nothing
of its own checkout, so that it can be run in an earlier one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
import torch

Step = Callable[[], object]
SECONDS = 0.5
SCENARIO = """
[population]
nodes = {nodes}
[task]
name = "digits"
[topology]
name = "random-regular"
degree = 4
[algorithm]
name = "{algorithm}"
[training]
batch_size = 1
step_seconds = 0.5
[network]
deadline = 5
loss = 0.01
delay = {{ kind = "lognormal", median = 0.03, sigma = 0.5 }}
[network.links]
down = 100
up = 20
[stop]
rounds = 100
"""


def matching(nodes: int, how: str) -> Step:
    """Three rounds of SAPS' pairs."""
    from topology.sequences.adaptive import adaptive_matching

    bandwidth = np.random.default_rng(1).uniform(1, 100, (nodes, nodes))
    return lambda: [adaptive_matching(bandwidth, matching=how, seed=1).matrix(t) for t in range(3)]


def building() -> Step:
    """A 20-regular random graph of 10,000 nodes."""
    from topology import graphs

    return lambda: graphs.random_regular(10_000, 20, 1)


def weights() -> Step:
    """Its Metropolis-Hastings weights."""
    from topology import graphs, mixing

    graph = graphs.random_regular(10_000, 20, 1)
    return lambda: mixing.metropolis_hastings(graph)


def advice() -> Step:
    """Advice for 300 nodes."""
    import topology

    return lambda: topology.advise(300, 4, 5_000_000, 20e6)


def neighbours() -> Step:
    """The neighbourhoods of 10,000 nodes, and a median of each."""
    from gossipfl.algorithms.rules import ascending
    from sims.engine.neighbourhoods import Sparse, neighbourhoods
    from topology import graphs, mixing

    lists = Sparse(mixing.metropolis_hastings(graphs.random_regular(10_000, 4, 1)))
    rows = torch.randn(10_000, 650)
    return lambda: [ascending(each.rows, each.present)[:, 0] for each in neighbourhoods(lists, rows)]


def clock(nodes: int, rounds: int, algorithm: str = "d_psgd") -> Step:
    """The first rounds in real time over links, without their learning."""
    from sims.engine import RoundEngine
    from sims.scenario import parse_scenario
    from sims.world import build_world
    from sims.world.networks import round_network

    scenario = parse_scenario(SCENARIO.format(nodes=nodes, algorithm=algorithm))
    network = round_network(scenario, class_counts=None)
    world = build_world(scenario)

    def step() -> None:
        times = RoundEngine(world, network, compile_when="never").clock
        for number in range(rounds):
            times.round(number)

    return step


def codecs(name: str, way: str) -> Step:
    """A row of 2 million numbers to bytes or back, or 2,000 rows as a simulated round compresses them."""
    from gossipfl.codecs import codec, exchange_keys

    made = codec(name)
    row = torch.randn(2_000_000, generator=torch.Generator().manual_seed(1))
    if way == "encoded":
        return lambda: made.encode(row, key=1)
    if way == "decoded":
        payload = made.encode(row, key=1)
        return lambda: made.decode(payload, len(row))
    rows = row[: 2_000 * 650].reshape(2_000, 650)
    keys = exchange_keys(torch.arange(len(rows)), seed=1, round_number=0)
    return lambda: made.compress(rows, keys=keys)


def training() -> Step:
    """A hundred steps of one row, as a peer does them."""
    from gossipfl.tasks import find_task
    from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings

    task = find_task("digits")
    data = task.dataset()
    settings = TrainingSettings(learning_rate=0.1, batch_size=16)
    trainer = Trainer.of(task, NodeData.of_one_node(data.train_inputs, data.train_targets), settings)
    nodes = Nodes.start(task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
    return lambda: trainer.train(nodes, np.zeros(1, dtype=np.int64), steps=100)


def evaluation() -> Step:
    """10,000 logistic regressions, evaluated on 359 samples each, not compiled."""
    from sims.metrics.evaluation import Evaluator
    from sims.scenario import parse_scenario
    from sims.world import build_world

    world = build_world(parse_scenario(SCENARIO.format(nodes=64, algorithm="d_psgd")))
    evaluated = Evaluator(world, expected_rows=10_000, compile_when="never")
    rows = torch.randn(10_000, world.layout.size) / 10
    return lambda: evaluated(rows)


STEPS: dict[str, Callable[[], Step]] = {
    "topologies, building": building,
    "topologies, weights": weights,
    "topologies, advice": advice,
    "matching, 128 nodes, maximum": lambda: matching(128, "maximum"),
    "matching, 2,048 nodes, proposals": lambda: matching(2_048, "proposals"),
    "neighbourhoods, 10,000 nodes": neighbours,
    "clock, 64 nodes": lambda: clock(64, 20),
    "clock, 1,000 nodes": lambda: clock(1_000, 2),
    **{
        f"codecs, {name}, {way}": lambda name=name, way=way: codecs(name, way)
        for name in ("bfloat16", "int8", "top:0.01")
        for way in ("encoded", "decoded", "rows")
    },
    "training, one row": training,
    "evaluation, 10,000 nodes": evaluation,
}


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[""], help="steps whose names begin so")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, make in STEPS.items():
        if not name.startswith(tuple(chosen.only)):
            continue
        step = make()
        times: list[float] = []
        while len(times) < chosen.repeats or sum(times) < SECONDS:
            started = time.process_time()
            step()
            times.append(time.process_time() - started)
        found[name] = min(times)
        print(f"{name:36} {found[name]:10.4f} s", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
