"""Memory estimates of simulations beside the most that each takes, in a process of its own.

python -m benchmarks.memory_estimates              # all of them
python -m benchmarks.memory_estimates privacy int  # those whose names contain one of these
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_LARGE = ("stop.rounds=2", "evaluate={every=2,nodes=500}", "task.samples_per_node=20", "output.rows=false")
_ROUNDS = "algorithm={name='d_psgd'}"


def _digits(nodes: int, *more: str) -> tuple[str, ...]:
    return (f"population.nodes={nodes}", *_LARGE, *more)


def _model(name: str, nodes: int, *more: str) -> tuple[str, ...]:
    return (f"task={{name='benchmarks.memory_tasks:{name}'}}", *_digits(nodes, *more))


SCENARIOS = {
    "linear model, 100,000 nodes, messages": _model("linear", 100_000),
    "linear model, 100,000 nodes, 8 bits": _model("linear", 100_000, "engine.rows='int8'"),
    "perceptron, 200 nodes, messages": _digits(200),
    "perceptron, 10,000 nodes, messages": _digits(10_000),
    "perceptron, 10,000 nodes, slow messages": _digits(
        10_000, "network.delay={kind='lognormal',median=2.0,sigma=0.5}"
    ),
    "perceptron, 10,000 nodes, momentum, messages": _digits(
        10_000, "training={momentum=0.9,learning_rate=0.01}"
    ),
    "perceptron, 10,000 nodes, 8 bits": _digits(10_000, "engine.rows='int8'"),
    "perceptron, 5,000 nodes, rounds": _digits(5_000, _ROUNDS),
    "perceptron, 5,000 nodes, AdamW, rounds": _digits(
        5_000, _ROUNDS, "training={optimiser='adamw',learning_rate=0.001}"
    ),
    "perceptron, 5,000 nodes, trimmed mean": _digits(5_000, "algorithm={name='trimmed_mean'}"),
    "perceptron, 5,000 nodes, gradient tracking": _digits(5_000, "algorithm={name='gradient_tracking'}"),
    "convolutional, 2,000 nodes, rounds": _model("convolutional", 2_000, _ROUNDS),
    "LSTM, 1,000 nodes, messages": _model("recurrent", 1_000),
    "transformer, 200 nodes, rounds": _model("transformer", 200, _ROUNDS, "evaluate.nodes=20"),
    "perceptron, 10,000 nodes, 16 bits": _digits(10_000, "engine.rows='int16'"),
    "perceptron, 5,000 nodes, float64, messages": _digits(5_000, "precision='float64'"),
    "perceptron, 10,000 nodes, push-pull": _digits(
        10_000, "algorithm={name='gossip_learning',exchange='push-pull'}"
    ),
    "perceptron, 10,000 nodes, push-sum": _digits(10_000, "algorithm={name='push_sum'}"),
    "perceptron, 10,000 nodes, AD-PSGD": _digits(10_000, "algorithm={name='ad_psgd'}"),
    "perceptron, 5,000 nodes, privacy of samples, rounds": _digits(
        5_000, _ROUNDS, "training.privacy={clip=1.0,noise_multiplier=1.0}"
    ),
    "perceptron, 3,000 nodes, personal models (APFL)": _digits(3_000, "algorithm={name='apfl'}"),
    "perceptron, 1,000 nodes, PENS": _digits(1_000, "algorithm={name='pens'}"),
    "perceptron, 1,000 nodes, masked sums": _digits(1_000, _ROUNDS, "masked_sums={}"),
    "perceptron, 5,000 nodes, FedAvg": _digits(
        5_000, "algorithm={name='fedavg'}", "topology={name='complete'}"
    ),
    "perceptron, 3,000 nodes, hostile nodes, trimmed mean": _digits(
        3_000, "algorithm={name='trimmed_mean'}", "attack={name='sign_flip',share=0.1}"
    ),
    "perceptron, 2,000 nodes, SAPS in random pairs": _digits(
        2_000, "algorithm={name='saps'}", "topology={name='random_matching'}"
    ),
    "perceptron, 3,000 nodes, NoLoCo in random pairs": _digits(
        3_000, "algorithm={name='noloco'}", "topology={name='random_matching'}"
    ),
    "perceptron, 500 nodes, trimmed mean, complete graph": _digits(
        500, "algorithm={name='trimmed_mean'}", "topology={name='complete'}"
    ),
    "perceptron, 5,000 nodes, all evaluated one by one": _digits(
        5_000, _ROUNDS, "evaluate={every=2,per_node=true}"
    ),
    "low-rank adapters on a frozen body, 2,000 nodes": (
        "task={name='benchmarks.frozen_weights:task'}",
        *_digits(2_000, _ROUNDS),
    ),
    "linear model, 400,000 test samples, 1,000 nodes": _model("large_tests", 1_000, _ROUNDS),
    "55 numbers, 1,000,000 nodes, 8-regular, messages": _model(
        "tiny", 1_000_000, "task.samples_per_node=4", "topology={name='random-regular',degree=8}"
    ),
}
READY_MADE = {
    "phones": ("stop.rounds=48",),
    "spambase": ("stop.rounds=10",),
    "pendigits": ("stop.rounds=20",),
    "home-links": ("stop.rounds=20",),
    "fourteen-cities": ("stop.rounds=20",),
    "hostile-digits": ("stop.rounds=10",),
}


def measured(name: str) -> tuple[float, float]:
    """Estimated and greatest memory of a run, in bytes."""
    command = [sys.executable, "-m", "benchmarks.memory_estimates", "--one", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["estimated"], found["taken"]


def _one(name: str) -> None:
    import sims

    estimates = []
    ready_made = name in READY_MADE
    sims.run(
        name if ready_made else "digits",
        overrides=READY_MADE[name] if ready_made else SCENARIOS[name],
        compile_when="never",
        on_progress=lambda progress: estimates.append(progress.memory.total),
    )
    words = Path("/proc/self/status").read_text(encoding="ascii").split()
    taken = int(words[words.index("VmHWM:") + 1]) * 1024
    print(json.dumps({"estimated": estimates[0], "taken": taken}))


def main() -> None:
    """Print one line a scenario."""
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2])
        return
    for name in [*SCENARIOS, *READY_MADE]:
        if sys.argv[1:] and not any(part in name for part in sys.argv[1:]):
            continue
        estimated, taken = measured(name)
        ratio = estimated / taken
        print(f"| {name} | {estimated / 1e6:,.0f} | {taken / 1e6:,.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
