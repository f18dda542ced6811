"""Single steps of the project, each in seconds of processor time, for `benchmarks/compare.py` or to be read.

    OMP_NUM_THREADS=1 python benchmarks/steps.py                       # all
    OMP_NUM_THREADS=1 python benchmarks/steps.py --only clock codecs   # those whose names begin so

Nothing here is run for its result: these are calls that compare.py's other benchmarks leave out, of the library alone,
in one process and with one thread, the least of ``--repeats``. The last line is a JSON object. The file needs nothing
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
    """Rounds in real time over links, without their learning; each call goes on."""
    from sims.engine import RoundEngine
    from sims.scenario import parse_scenario
    from sims.world import build_world
    from sims.world.networks import round_network

    scenario = parse_scenario(SCENARIO.format(nodes=nodes, algorithm=algorithm))
    network = round_network(scenario, class_counts=None)
    times = RoundEngine(build_world(scenario), network, compile_when="never").clock
    done = 0

    def step() -> None:
        nonlocal done
        for number in range(done, done + rounds):
            times.round(number)
        done += rounds

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
    "clock, 64 nodes": lambda: clock(64, 10),
    "clock, 1,000 nodes": lambda: clock(1_000, 5),
    **{
        f"codecs, {name}, {way}": lambda name=name, way=way: codecs(name, way)
        for name in ("bfloat16", "int8", "top:0.01")
        for way in ("encoded", "decoded", "rows")
    },
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
        for _ in range(chosen.repeats):
            started = time.process_time()
            step()
            seconds = time.process_time() - started
            found[name] = min(found.get(name, seconds), seconds)
        print(f"{name:36} {found[name]:10.4f} s", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
