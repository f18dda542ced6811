"""Random scenarios of `benchmarks.memory_estimates --sample`: valid ones, of any kind, whose estimates lie in a range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["drawn", "sampled"]

_LEAST, _MOST = 630e6, 3e9  # bytes of estimates: libraries alone take some 550 MB
_SMALL = 0.05  # of scenarios that need less are kept: most are such
_ROUNDS_OWN_NETWORKS = {
    "noloco": "random_matching", "saps": "random_matching", "streaming": "random_matching",
    "relay_sgd": "tree", "power_gossip": "ring", "fedavg": "complete", "diloco": "complete", "pooled_sgd": "complete",
    "d_cliques": "d-cliques",
}  # fmt: skip
_MESSAGES = "gossip_learning", "gossip_learning", "gossip_learning", "ad_psgd", "push_sum", "apfl_gossip"
_TASKS = (
    "digits", "digits", "digits", "pendigits", "spambase", "linear", "convolutional", "recurrent", "gated",
    "transformer", "mnist_like", "mnist_wide", "tagger", "long_tests", "large_tests", "tiny",
    "frozen",
)  # fmt: skip
_SEVERAL = {"transformer", "tagger", "long_tests", "recurrent", "gated", "convolutional"}
_CODECS = "int8", "bfloat16", "top:0.05", "random:0.1", "qsgd:16", "sign"


def sampled(count: int, *, seed: int) -> Iterator[tuple[str, ...]]:
    """Draw so many scenarios, each as the values and options that `benchmarks.memory_scenarios` has.

    Scenarios that are refused, or whose estimates are out of range, are drawn anew.
    """
    from gossipfl.errors import GossipflError
    from sims.running.memory import estimate_memory
    from sims.scenario import load_scenario
    from sims.world import build_world
    from topology.errors import TopologyError

    draws, found = np.random.default_rng(seed), 0
    while found < count:
        given = drawn(draws)
        try:
            scenario = load_scenario(
                "digits", overrides=[each for each in given if not each.startswith("--")]
            )
            estimate = estimate_memory(scenario, build_world(scenario))
        except (GossipflError, TopologyError):
            continue
        least = 0 if draws.random() < _SMALL else _LEAST
        if least < estimate.total < _MOST:
            found += 1
            yield given


def drawn(draws: np.random.Generator) -> tuple[str, ...]:
    """Draw a scenario, which may be refused."""
    from gossipfl.algorithms import algorithm_names, find_algorithm
    from gossipfl.algorithms.messages import MessageAlgorithm

    def one_of(*choices: Any) -> Any:
        return choices[int(draws.integers(len(choices)))]

    def at_times(share: float, *values: str) -> list[str]:
        chosen = one_of(*values)
        return [chosen] if draws.random() < share else []

    messages, task = bool(draws.random() < 0.5), one_of(*_TASKS)
    rounds = [name for name in algorithm_names() if not issubclass(find_algorithm(name), MessageAlgorithm)]
    algorithm = one_of(*_MESSAGES) if messages else one_of(*rounds, *["d_psgd"] * 10)
    most = 300 if task in _SEVERAL else 20_000
    nodes = round(float(np.exp(draws.uniform(np.log(10), np.log(most)))))
    given = [f"population.nodes={nodes}", f"seed={int(draws.integers(1000))}", "task.samples_per_node=20"]
    if task not in ("digits", "pendigits", "spambase"):
        module = "benchmarks.frozen_weights:task" if task == "frozen" else f"benchmarks.memory_tasks:{task}"
        given[2:2] = [f"task={{name='{module}'}}"]
    else:
        given[2:2] = [f"task={{name='{task}'}}"]
    network = _ROUNDS_OWN_NETWORKS.get(algorithm) or one_of(
        "random-regular", "random-regular", "ring", "complete"
    )
    if network == "complete" and not messages and algorithm not in _ROUNDS_OWN_NETWORKS:
        network = "random-regular"
    degree = int(one_of(2, 4, 8, 20))
    if network == "random-regular" and nodes * degree % 2 == 0 and degree < nodes:
        given.append(f"topology={{name='random-regular',degree={degree}}}")
    elif network == "tree":
        depth = max(2, int(np.log2(nodes)))
        given[0] = f"population.nodes={2**depth - 1}"
        given.append(f"topology={{name='tree',branching=2,depth={depth - 1}}}")
    else:
        given.append(f"topology={{name='{'ring' if network == 'random-regular' else network}'}}")
    given.append(f"algorithm={{name='{algorithm}'{_own(algorithm, one_of, draws, messages=messages)}}}")
    given += _training(one_of, draws)
    if messages:
        given += at_times(0.3, "engine.rows='int8'", "engine.rows='int16'")
        given += at_times(
            0.5, "network.delay={kind='lognormal',median=2.0,sigma=0.5}", "network.delay={kind='constant',seconds=0.3}",
            "network.bandwidth=1.0", "network.period_sigma=0.4",
        )  # fmt: skip
        given += at_times(
            0.3, "churn.process={kind='cycle',offline=0.3}", "churn.process={kind='charging',duty=0.5}",
            "churn.process={kind='sessions',online={distribution='lognormal',median=5,spread=1},"
            "offline={distribution='lognormal',median=5,spread=1}}", "--trace",
        )  # fmt: skip
    else:
        given += at_times(0.1, "network={loss=0.05,deadline=5,delay={kind='lognormal',median=0.5,sigma=0.8}}")
        given += at_times(0.1, "churn.process={kind='cycle',offline=0.2}")
        given += at_times(0.06, "masked_sums={}")
    given += at_times(0.12, "attack={name='sign_flip',share=0.1}", "attack={name='alie',share=0.1}")
    given += at_times(0.1, "training.privacy={clip=1.0,noise_multiplier=1.0}")
    given += at_times(0.1, "precision='float64'")
    length, slow = int(one_of(2, 2, 4)), task in _SEVERAL or nodes > 2000
    given += [f"stop.rounds={length}", f"evaluate.every={one_of(1, 2, length)}"]
    few = min(nodes, 20)  # a run of thousands of evaluations takes minutes
    given += at_times(
        1 if slow else 0.8, f"evaluate.nodes={few}", f"evaluate.nodes={few if slow else nodes // 2}"
    )
    given += at_times(0.2, "evaluate.per_node=true", "evaluate.layers=true", "evaluate.mean_model=true")
    given += at_times(0.2, "evaluate.samples=100", "evaluate.fine_tune=2")
    if draws.random() < 0.3:
        given += ["--out", f"output={{rows={one_of('true', 'false')},checkpoint_every=1}}"]
    else:
        given += ["output.rows=false"] if draws.random() < 0.8 else []
    given += at_times(0.2, "--threads=2") + at_times(0.06, "--compile=always")
    return tuple(given)


def _own(algorithm: str, one_of: Any, draws: np.random.Generator, *, messages: bool) -> str:
    """Parameters of an algorithm, as the rest of its table."""
    if algorithm == "gossip_learning":
        chosen = f",exchange='{one_of('push', 'push', 'pull', 'push-pull')}',merge='{one_of('RW', 'MU', 'MU', 'UM')}'"
        if draws.random() < 0.3:
            chosen += f",sharing={{kind='{one_of('partitioned', 'subsampled')}',parts=4}}"
        elif draws.random() < 0.2:
            chosen += ",codec='int8'"
        if draws.random() < 0.2:
            chosen += ",flow={kind='randomized'}"
        return chosen
    if algorithm == "epidemic_learning":
        return f",degree={one_of(2, 4, 7)}"
    if algorithm in ("choco", "deep_squeeze"):
        return f",codec='{one_of(*_CODECS)}'"
    if messages or draws.random() < 0.8:
        return ""
    return f",codec='{one_of(*_CODECS)}'"


def _training(one_of: Any, draws: np.random.Generator) -> list[str]:
    given = [
        one_of(
            "training={learning_rate=0.01}", "training={momentum=0.9,learning_rate=0.01}",
            "training={optimiser='adamw',learning_rate=0.001}",
        ),
        f"training.batch_size={one_of(1, 8, 32)}",
    ]  # fmt: skip
    return given + ([f"training.local_steps={one_of(2, 5)}"] if draws.random() < 0.3 else [])
