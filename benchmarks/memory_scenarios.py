"""Scenarios of `benchmarks.memory_estimates`.

What begins with ``--`` is an option of the run and not a value of the scenario.
"""

from __future__ import annotations

__all__ = ["READY_MADE", "SCENARIOS"]

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
    "perceptron, 5,000 nodes, CHOCO, a hundredth of the numbers": _digits(
        5_000, "algorithm={name='choco',codec='top:0.01',consensus_step_size=0.1}"
    ),
    "perceptron, 5,000 nodes, DeepSqueeze, few bits": _digits(
        5_000, "algorithm={name='deep_squeeze',codec='qsgd:16'}"
    ),
    "perceptron, 3,000 nodes, streaming": _digits(
        3_000, "algorithm={name='streaming'}", "topology={name='random_matching'}"
    ),
    "perceptron, 3,000 nodes, GASLoC": _digits(3_000, "algorithm={name='gasloc'}"),
    "perceptron, 3,000 nodes, D-Adam": _digits(3_000, "algorithm={name='d_adam'}"),
    "perceptron, 2,000 nodes, IFCA, 4 models": _digits(2_000, "algorithm={name='ifca',models=4}"),
    "perceptron, 1,023 nodes, RelaySGD on a tree": _digits(
        1_023, "algorithm={name='relay_sgd'}", "topology={name='tree',branching=2,depth=9}"
    ),
    "perceptron, 2,000 nodes, Krum, ALIE": _digits(
        2_000, "algorithm={name='krum'}", "attack={name='alie',share=0.1}"
    ),
    "perceptron, 5,000 nodes, rounds, late and lost": _digits(
        5_000, _ROUNDS, "network={loss=0.05,deadline=5,delay={kind='lognormal',median=0.5,sigma=0.8}}"
    ),
    "perceptron, 5,000 nodes, rounds, records": _digits(
        5_000, _ROUNDS, "output={rows=true,checkpoint_every=1}", "evaluate.every=1", "--out"
    ),
    "perceptron, 10,000 nodes, messages, records": _digits(
        10_000, "output={rows=true,checkpoint_every=1}", "evaluate.every=1", "--out"
    ),
    "perceptron, 10,000 nodes, parts of models": _digits(
        10_000, "algorithm={name='gossip_learning',sharing={kind='partition',parts=4}}"
    ),
    "convolutional, 200 nodes, 10,000 test samples": _model("many_images", 200, _ROUNDS, "evaluate.nodes=20"),
    "transformer, 100 nodes, 2,000 test samples": _model("long_tests", 100, _ROUNDS, "evaluate.nodes=10"),
    "linear model, 20,000 nodes, recorded sessions": _model("linear", 20_000, "--trace"),
    "perceptron, 5,000 nodes, rounds, two threads": _digits(5_000, _ROUNDS, "--threads=2"),
    "perceptron, 10,000 nodes, messages, two threads": _digits(10_000, "--threads=2"),
    "perceptron, 5,000 nodes, rounds, compiled": _digits(5_000, _ROUNDS, "--compile=always"),
    "perceptron, 10,000 nodes, messages, compiled": _digits(10_000, "--compile=always"),
    "perceptron, 10,000 nodes, rounds, two shards": _digits(10_000, _ROUNDS, "--shards=2"),
    "perceptron, 20,000 nodes, messages, two shards": _digits(20_000, "--shards=2"),
}
READY_MADE = {
    "phones": ("stop.rounds=48",),
    "spambase": ("stop.rounds=10",),
    "pendigits": ("stop.rounds=20",),
    "home-links": ("stop.rounds=20",),
    "fourteen-cities": ("stop.rounds=20",),
    "hostile-digits": ("stop.rounds=10",),
}
