"""Training of the next-word models in docs/keyboard.md: one method, one step size and one seed at a time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from keyboard_methods import CLIP, METHODS, Method, noise_for
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
from sims.running.choice import simulation_of
from sims.scenario import parse_scenario
from sims.world import World
from sims.world.samples import divided
from sims.world.trace_cache import Traces

__all__ = ["Corpus", "Outcome", "Plan", "Scores", "User", "loaded", "neural", "scored", "trained"]

LENGTH, TESTED = 20, 0.2
HELD_OUT, MOST_HELD_OUT = 0.1, 100
LEAST_WINDOWS, LEAST_USERS = 10, 3
TRACES = Traces()

Scores = list[tuple[int, int, int, float]]  # of each user: words, hits of one and of three, surprise


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
    """Users of the task with these options, in the order of their nodes, without those with too little text."""
    vocabulary = find_vocabulary("en", options["words"])
    texts = find_texts(options["text"]).of_user
    found = []
    for name in users_with_most(texts, users=options["users"]):
        said = [sentence for text in texts[name] for sentence in sentences(text)]
        past, later = parted([vocabulary.encoded(each) for each in said], TESTED)
        own, tested = (windows_of_sentences(part, length=LENGTH) for part in (past, later))
        most, most_tested = options["most"] or None, options["most_tested"] or None
        own, tested = own.last(most), tested.first(most_tested)
        if len(own) < LEAST_WINDOWS or not (tested.following >= 0).any():
            print(f"{name} has too little text: expected {LEAST_WINDOWS} windows to train on, got {len(own)}")
            continue
        found.append(User(own, tested, said[: len(past)], said[len(past) :]))
    if len(found) < LEAST_USERS:
        raise SystemExit(f"expected {LEAST_USERS} users with enough text, got {len(found)}")
    return Corpus({**options, "users": len(found)}, found, vocabulary)


@dataclass(frozen=True)
class Plan:
    """What is trained on, for how long, and where."""

    steps: int
    batch: int
    device: str = "cpu"
    warm_up: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Models of all users, and what came of them."""

    rows: Tensor
    bytes: float
    seconds: float
    tiers: str


def trained(
    corpus: Corpus, plan: Plan, name: str, rate: float, *, seed: int, held_out: bool
) -> Generator[None, None, Outcome]:
    """Train users' models by a method, a round at a time; without the last tenth of their samples if held out."""
    began = time.perf_counter()
    method = METHODS[name]
    plan = replace(plan, steps=min(plan.steps, method.steps or plan.steps), batch=method.batch or plan.batch)
    world = _world(corpus, plan, method, rate, seed=seed, held_out=held_out)
    if not method.algorithm:
        rows, phases = yield from _alone(world, plan)
        return Outcome(rows, 0.0, time.perf_counter() - began, str(phases.tiers))
    simulation = simulation_of(world.scenario, world, threads=1, compile_when="never", device=plan.device)
    for done in range(1, round(world.scenario.stop.rounds) + 1):
        simulation.advance(done, between=lambda: False)
        yield
    rows, sent = simulation.models().float().cpu(), simulation.counts()["bytes"]
    simulation.close()
    return Outcome(rows, sent / len(rows), time.perf_counter() - began, str(simulation.phases.tiers))


def _world(corpus: Corpus, plan: Plan, method: Method, rate: float, *, seed: int, held_out: bool) -> World:
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in corpus.options.items())
    n = len(corpus.users)
    topology = method.topology.format(degree=min(4, n - 1))
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
{topology}
[algorithm]
{method.algorithm or 'name = "d_psgd"'}
[training]
{method.training}
learning_rate = {rate * (math.sqrt(n) if method.stretched else 1.0)}
{"clip_norm = 1.0" if method.clipped else ""}
batch_size = {plan.batch}
schedule = "cosine"
clock = "step"
decay_age = {plan.steps}
warm_up = {round(plan.warm_up * plan.steps)}
local_steps = {method.every}
[evaluate]
every = {max(1, plan.steps // method.every)}
[stop]
rounds = {max(1, plan.steps // method.every)}
{method.further}
{_privacy(corpus, plan, method)}
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


def _privacy(corpus: Corpus, plan: Plan, method: Method) -> str:
    """The table of private training: noise for ε where a user has the fewest windows."""
    if method.epsilon is None:
        return ""
    fewest = min(len(user.past) for user in corpus.users)
    noise = noise_for(method.epsilon, rate=min(1.0, plan.batch / fewest), steps=plan.steps)
    return f"[training.privacy]\nclip = {CLIP}\nnoise_multiplier = {noise}\nsecret = false"


def _alone(world: World, plan: Plan) -> Generator[None, None, tuple[Tensor, Phases]]:
    device, phases = torch.device(plan.device), Phases()
    local = BlockTraining(
        world, expected_rounds=plan.steps, threads=1, compile_when="never", device=device, phases=phases
    )
    rows = world.first_rows().expand(world.scenario.population.nodes, -1).contiguous()
    nodes = Nodes.start(rows, optimiser_state_size=world.trainer.optimiser_state_size)
    nodes = replace(nodes.on(device), ages=nodes.ages.to(device))
    for _ in range(plan.steps):
        with torch.no_grad():
            nodes = local.update(nodes)
        yield
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
