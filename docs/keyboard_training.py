"""Training of the next-word models in docs/keyboard.md: one method, one step size and one seed at a time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossipfl.rows import load_row
from gossipfl.tasks import Task, find_task
from gossipfl.tasks.words.next_word import dataset_of, find_texts, find_vocabulary, users_with_most
from gossipfl.tasks.words.ngrams import ranks
from gossipfl.tasks.words.normalise import sentences
from gossipfl.tasks.words.samples import Windows, parted, windows_of_sentences
from gossipfl.tasks.words.vocabulary import Vocabulary
from gossipfl.training import Nodes, Trainer
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.running.simulation import simulation_of
from sims.scenario import parse_scenario
from sims.world import World
from sims.world.samples import divided
from sims.world.trace_cache import Traces

__all__ = ["METHODS", "Corpus", "Method", "Outcome", "Plan", "Scores", "User", "loaded", "neural", "scored"]

LENGTH, TESTED = 20, 0.2
HELD_OUT, MOST_HELD_OUT = 0.1, 100
TRACES = Traces()

Scores = list[tuple[int, int, int, float]]  # of each user: words, hits of one and of three, surprise


@dataclass(frozen=True)
class Method:
    """How users' models learn.

    Parameters
    ----------
    algorithm : str
        The table of a scenario; none where nobody hears of others.
    topology : str
        The same, unless all send to a server.
    training, further : str
        The optimiser, and further tables of the scenario.
    clipped : bool
        Whether the norm of a batch's gradient is at most 1.
    every : int
        Steps between exchanges.
    rates : tuple of float
        Step sizes to try, before they are stretched.
    stretched : bool
        Whether they are √n times as large: AdamW divides gradients by the root of their mean square. Where that
        is noise for the most part, the mean of n gradients has a root that is √n times as small, and so a step
        that is √n times as long as the mean of n steps.
    """

    algorithm: str = ""
    topology: str = 'name = "complete"'
    training: str = 'optimiser = "adamw"'
    further: str = ""
    clipped: bool = True
    every: int = 1
    rates: tuple[float, ...] = (0.0025, 0.005, 0.01, 0.02, 0.04)
    stretched: bool = False
    steps: int | None = None
    batch: int | None = None


def _private(noise: float) -> Method:
    """DP-SGD, in 400 steps of larger batches; the text has ε by the accountant."""
    privacy = f"[training.privacy]\nclip = 0.5\nnoise_multiplier = {noise}\nsecret = false"
    rates = 0.002, 0.004, 0.008, 0.016, 0.032
    return replace(_GOSSIP, further=privacy, steps=400, batch=128, rates=rates, clipped=False)


_GRAPH = 'name = "random-regular"\ndegree = 4'
_GOSSIP = Method('name = "d_psgd"', _GRAPH, stretched=True)
_ALIKE = Method('name = "d_adam"', _GRAPH, training='optimiser = "sgd"', stretched=True)
_IN_8_BITS = '[[outgoing]]\nkind = "codec"\nname = "int8"'
METHODS: Mapping[str, Method] = {
    "gossip": _ALIKE,
    "gossip, moments apart": _GOSSIP,
    "pooled": Method('name = "pooled_sgd"'),
    "alone": Method(rates=(0.0003125, 0.000625, 0.00125, 0.0025, 0.005)),
    "FedAvg": Method(
        'name = "fedavg"\nepochs = 0\nfraction = 1.0',
        training='optimiser = "sgd"',
        every=4,
        rates=(1.0, 2.0, 4.0, 8.0, 16.0),
    ),
    "gossip, one neighbour": replace(_GOSSIP, topology='name = "base"\nk = 1'),
    "gossip, 1/50 of the bytes": replace(
        _GOSSIP, further='[[outgoing]]\nkind = "mask"\nshare = 0.08\n' + _IN_8_BITS
    ),
    "gossip, 1/64 of the bytes": replace(_GOSSIP, further=_IN_8_BITS, every=16),
    "gossip, ε = 8": _private(1.19),
    "gossip, ε = 2": _private(3.25),
}
"""Step sizes are five for each, as many trials for one as for another."""


@dataclass(frozen=True)
class User:
    """One user's samples, and sentences as they were written: of the past, and those tested on."""

    past: Windows
    later: Windows
    past_sentences: list[list[str]]
    later_sentences: list[list[str]]


@dataclass(frozen=True)
class Corpus:
    """Users of a text, and their vocabulary."""

    options: dict[str, Any]
    users: list[User]
    vocabulary: Vocabulary

    def task(self, seed: int) -> Task:
        """The task with an initial row of its own."""
        return find_task("next-word", {**self.options, "seed": seed})


def loaded(options: dict[str, Any]) -> Corpus:
    """Users of the task with these options, in the order of their nodes."""
    vocabulary = find_vocabulary("en", options["words"])
    texts = find_texts(options["text"]).of_user
    found = []
    for name in users_with_most(texts, users=options["users"]):
        said = [sentence for text in texts[name] for sentence in sentences(text)]
        past, later = parted([vocabulary.encoded(each) for each in said], TESTED)
        own, tested = (windows_of_sentences(part, length=LENGTH) for part in (past, later))
        most, most_tested = options["most"] or None, options["most_tested"] or None
        found.append(User(own.last(most), tested.first(most_tested), said[: len(past)], said[len(past) :]))
    return Corpus({**options, "users": len(found)}, found, vocabulary)


@dataclass(frozen=True)
class Plan:
    """What is trained on, for how long, and where."""

    steps: int
    batch: int
    device: str = "cpu"


@dataclass(frozen=True)
class Outcome:
    """Models of all users, and what came of them."""

    rows: Tensor
    bytes: float
    seconds: float
    tiers: str


def trained(corpus: Corpus, plan: Plan, name: str, rate: float, *, seed: int, held_out: bool) -> Outcome:
    """Train users' models by a method; without the last tenth of each user's samples if they are held out."""
    began = time.perf_counter()
    method = METHODS[name]
    plan = replace(plan, steps=method.steps or plan.steps, batch=method.batch or plan.batch)
    world = _world(corpus, plan, method, rate, seed=seed, held_out=held_out)
    if not method.algorithm:
        rows, phases = _alone(world, plan)
        return Outcome(rows, 0.0, time.perf_counter() - began, str(phases.tiers))
    simulation = simulation_of(world.scenario, world, threads=1, compile_when="never", device=plan.device)
    simulation.advance(world.scenario.stop.rounds, between=lambda: False)
    rows, sent = simulation.models().float().cpu(), simulation.counts()["bytes"]
    simulation.close()
    return Outcome(rows, sent / len(rows), time.perf_counter() - began, str(simulation.phases.tiers))


def _world(corpus: Corpus, plan: Plan, method: Method, rate: float, *, seed: int, held_out: bool) -> World:
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in corpus.options.items())
    n = len(corpus.users)
    scenario = parse_scenario(
        f"""
seed = {seed}
[population]
nodes = {n}
[task]
name = "next-word"
partition = "natural"
options = {{ {options} }}
[topology]
{method.topology}
[algorithm]
{method.algorithm or _GOSSIP.algorithm}
[training]
{method.training}
learning_rate = {rate * (math.sqrt(n) if method.stretched else 1.0)}
{"clip_norm = 1.0" if method.clipped else ""}
batch_size = {plan.batch}
schedule = "cosine"
clock = "step"
decay_age = {plan.steps}
local_steps = {method.every}
[evaluate]
every = {max(1, plan.steps // method.every)}
[stop]
rounds = {max(1, plan.steps // method.every)}
{method.further}
"""
    )
    pasts = [user.past for user in corpus.users]
    if held_out:
        pasts = [past.first(len(past) - held(past)) for past in pasts]
    data = dataset_of({str(k): (past, past.first(1)) for k, past in enumerate(pasts)})
    task = replace(corpus.task(seed), data=lambda: data)
    trainer = Trainer.of(task, divided(scenario, [data]), scenario.training)
    tested = data.test_inputs, data.test_targets
    return World(
        scenario=scenario,
        task=task,
        trainer=trainer,
        test_inputs=tested[0],
        test_targets=tested[1],
        own_tests=(tested,),
        traces=TRACES,
    )


def _alone(world: World, plan: Plan) -> tuple[Tensor, Phases]:
    device, phases = torch.device(plan.device), Phases()
    local = BlockTraining(
        world, expected_rounds=plan.steps, threads=1, compile_when="never", device=device, phases=phases
    )
    rows = world.first_rows().expand(world.scenario.population.nodes, -1).contiguous()
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    nodes = replace(nodes.on(device), ages=nodes.ages.to(device))
    with torch.no_grad():
        for _ in range(plan.steps):
            nodes = local.update(nodes)
    return nodes.rows.float().cpu(), phases


def held(past: Windows) -> int:
    """How many samples of a user are held out."""
    return min(MOST_HELD_OUT, max(1, round(HELD_OUT * len(past))))


def scores_of(task: Task, rows: Tensor, tested: Sequence[Windows]) -> Scores:
    """Scores of each user's model on samples of their own."""
    return [scored(neural(task, row, windows), windows) for row, windows in zip(rows, tested, strict=True)]


def neural(task: Task, row: Tensor, windows: Windows) -> Any:
    """Probabilities at each place where a word counts."""
    module = task.build_module()
    load_row(module, task.layout, row)
    with torch.no_grad():
        hidden = module.hidden(torch.from_numpy(windows.words))[torch.from_numpy(windows.following >= 0)]
        return module.scores(hidden).softmax(dim=-1).numpy()


def scored(probabilities: Any, windows: Windows) -> tuple[int, int, int, float]:
    """Scores of one user, at the places where a word counts."""
    return counted(probabilities, windows.following[windows.following >= 0])


def counted(probabilities: Any, wanted: Any) -> tuple[int, int, int, float]:
    """Words, hits among one and three suggestions, and the sum of −ln p."""
    rank = ranks(probabilities, wanted)
    own = probabilities[np.arange(len(wanted)), wanted]
    return len(wanted), int((rank < 1).sum()), int((rank < 3).sum()), float(-np.log(own + 1e-30).sum())
