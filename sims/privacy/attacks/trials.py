"""Trials of claims about noise: the best test of each canary's coin, from what observers of simulated runs saw.

Each number of a row is a trial of its own: coins and noise of different numbers are independent, and all that is
done to rows is done to each number alike. The observers know everything but the target's coins and the noise: the
likelihood ratio, which no test beats (Neyman and Pearson 1933), is then known.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.algorithms import AnyExchange, LinkExchange, Mixed
from gossipfl.privacy.factorised import factor
from gossipfl.training.step_draws import SeededDraws, batches_apart
from sims.engine import RoundEngine
from sims.privacy.attacks.auditing import Rate, epsilon_of_rates, rate_of
from sims.privacy.attacks.sent_rows import setting_of
from sims.privacy.conditioning import view_of
from sims.privacy.linear_run import LinearRun
from sims.privacy.rounds import round_run
from sims.privacy.source_noise import SourceNoise
from sims.scenario import Scenario
from sims.scenario.outgoing import outgoing_of
from sims.world import World, build_world
from sims.world.networks import round_network

__all__ = ["Trials", "trials_of_rows", "trials_of_samples"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Log likelihood ratios of coins, and the coins.

    Parameters
    ----------
    scores : ndarray
        Float64 ``[n]``.
    coins : ndarray
        Bool ``[n]``.
    shift : float
        μ of the view by the accountant; NaN where batches are sampled.
    """

    scores: Floats
    coins: NDArray[np.bool_]
    shift: float = math.nan

    def proven(self, *, delta: float, confidence: float = 0.95) -> float:
        """ε that the test proves at least."""
        return epsilon_of_rates(
            self.scores[self.coins], self.scores[~self.coins], delta=delta, confidence=confidence
        )

    def advantage(self, *, confidence: float = 0.95) -> Rate:
        """True minus false positive rate of guessing by the sign, with an interval of both rates' intervals."""
        each = 1 - (1 - confidence) / 2
        true, false = (
            rate_of(int((scores > 0).sum()), len(scores), confidence=each)
            for scores in (self.scores[self.coins], self.scores[~self.coins])
        )
        return Rate(true.value - false.value, true.low - false.high, true.high - false.low)


def trials_of_rows(
    scenario: Scenario,
    *,
    size: float,
    deviation: float,
    observers: Collection[int],
    target: int,
    sees_all: bool = False,
) -> Trials:
    """Try to tell the signs of a node's numbers, which are its gradient in each step, or what it starts from.

    Parameters
    ----------
    scenario : Scenario
        In rounds, with the task ``coin_rows`` or ``coin_starts``, and nothing between rows but noise.
    size : float
        Of the numbers: a coin moves one by twice as much.
    deviation : float
        Of the noise on values themselves.
    observers : collection of int
    target : int
    sees_all : bool
        Whether it is all rows that are seen, and not by nodes: the observers are left out.
    """
    world = build_world(scenario)
    network, training = round_network(scenario), scenario.training.enabled
    engine = _Recorded(world, network, compile_when="never")
    engine.exchanged = []
    for _ in range(int(scenario.stop.rounds)):
        engine.run_round()
    engine.close()
    run = round_run(
        scenario,
        network,
        samples=world.trainer.data.counts,
        private_start=not training,
        outgoing=outgoing_of(scenario),
    )
    found = run.noise or SourceNoise.of_sources(
        [True] * len(run.owners), [-1] * len(run.owners), run.owners.tolist()
    )
    private = found.private
    deviations = np.where(private, deviation, found.deviations)
    declared = replace(found, sensitivities=np.where(private, 2 * size, 0.0), deviations=deviations)
    run = replace(run, noise=declared)
    heard = run.overheard() if sees_all else run
    loss = float(view_of(heard, [run.nodes] if sees_all else observers).losses[target])
    rows, seen = _seen(run, engine.exchanged, observers, sees_all=sees_all)
    coins = _coins(world, training=training)
    noise = rows * np.where(np.isin(run.owners, list(observers)) & ~private, 0.0, deviations)
    values = rows[:, private] @ _one_hot(run.owners[private], run.nodes)
    own = values[:, target].copy()
    values[:, target] = 0.0
    left = seen - values @ (size * coins)
    direction = np.linalg.pinv(noise @ noise.T, rcond=1e-11, hermitian=True) @ (2 * size * own)
    return Trials(scores=direction @ left, coins=coins[target] > 0, shift=math.sqrt(loss))


def trials_of_samples(scenario: Scenario, *, seed: int = 0) -> Trials:
    """Try to tell of each sample of all nodes whether it was trained on, for whoever sees all rows.

    Parameters
    ----------
    scenario : Scenario
        Of D-PSGD with private training by plain steps of one size, and the task ``coin_samples``.
    seed : int
        Of the coins, batches and noise.
    """
    world = build_world(scenario)
    setting, data = setting_of(world), world.trainer.data
    rounds, nodes = setting.rounds, len(data.counts)
    coins = np.random.default_rng([seed, 0xCA]).random(len(data.indices)) < 0.5
    sent = setting.run(included=coins, seed=seed + 1, kept=range(rounds))
    counts = sent.world.trainer.data.counts
    privacy = scenario.training.privacy
    assert privacy is not None and setting.network is not None  # noqa: S101 - what the scenario is
    rates = np.minimum(scenario.training.batch_size / counts, 1.0)
    before = np.zeros((nodes, len(data.indices) // nodes))
    steps = []
    for number in range(rounds):
        rows = sent.rows[number].double().numpy()
        steps.append((before - rows) / scenario.training.learning_rate * (rates * counts)[:, None])
        before = setting.network.sequence.matrix(number) @ rows
    gradients = np.stack(steps, axis=1)  # [nodes, rounds, numbers]: noisy sums, of what 1 is a sample
    deviation = privacy.noise_multiplier * privacy.clip
    if privacy.sampling == "poisson":
        odds = np.exp((2 * privacy.clip * gradients - privacy.clip**2) / (2 * deviation**2))
        scores = np.log1p(rates[:, None, None] * (odds - 1)).sum(axis=1)
        return Trials(scores=scores.ravel(), coins=coins)
    moved = _moved(sent.world.scenario, counts, rates, coins.reshape(nodes, -1), rounds)
    inverse = _toeplitz(factor(privacy.bands, rounds))
    whitened = np.einsum("st,ntd->nsd", inverse, gradients) / deviation
    shifts = np.einsum("st,ntd->nsd", inverse, moved) * privacy.clip / deviation
    scores = (shifts * whitened).sum(axis=1) - np.square(shifts).sum(axis=1) / 2
    return Trials(scores=scores.ravel(), coins=coins)


class _Recorded(RoundEngine):
    """Rounds of which all rows that arrive are kept, exchange by exchange."""

    exchanged: list[list[tuple[bool, Floats]]]
    """By round and exchange: whether over links, and the rows."""

    def run_round(self) -> int:
        """Do one round."""
        self.exchanged.append([])
        return super().run_round()

    def _carried_out(self, exchange: AnyExchange) -> Mixed:
        mixed = super()._carried_out(exchange)
        by_link = isinstance(exchange, LinkExchange)
        rows = mixed.rows if by_link else mixed.sent
        size = self.world.layout.shared_size
        self.exchanged[-1].append((by_link, rows[:, :size].double().numpy().copy()))
        return mixed


def _seen(
    run: LinearRun,
    exchanged: list[list[tuple[bool, Floats]]],
    observers: Collection[int],
    *,
    sees_all: bool,
) -> tuple[Floats, Floats]:
    """Coefficients of the rows that are seen, ``[k, sources]``, and the rows, ``[k, numbers]``."""
    who, state = list(observers), np.zeros((0, len(run.owners)))
    coefficients, rows = [], []
    for number, stage in enumerate(run.stages):
        before = stage.with_values(state)
        state = stage.transition @ before
        if not number:
            continue
        chosen = np.isin(stage.receivers, who) | np.isin(stage.senders, who) | sees_all
        coefficients.append((stage.observed @ before)[chosen])
        exchanges = exchanged[number - 1]
        each = len(stage.senders) // len(exchanges)
        arrived = [
            found if by_link else found[stage.senders[place * each : (place + 1) * each]]
            for place, (by_link, found) in enumerate(exchanges)
        ]
        rows.append(np.concatenate(arrived)[chosen])
    return np.concatenate(coefficients), np.concatenate(rows)


def _coins(world: World, *, training: bool) -> Floats:
    """Signs of all nodes' numbers, ``[nodes, numbers]``."""
    rows = world.trainer.data.inputs if training else world.first_rows()
    assert isinstance(rows, torch.Tensor)  # noqa: S101 - of the tasks in `canaries`
    found: Floats = torch.sign(rows).double().numpy()
    return found


def _one_hot(owners: NDArray[np.int64], nodes: int) -> Floats:
    matrix = np.zeros((len(owners), nodes))
    matrix[np.arange(len(owners)), owners] = 1.0
    return matrix


def _toeplitz(column: Floats) -> Floats:
    places = np.subtract.outer(np.arange(len(column)), np.arange(len(column)))
    return np.where(places >= 0, column[np.maximum(places, 0)], 0.0)


def _moved(
    scenario: Scenario, counts: NDArray[np.int64], rates: Floats, coins: NDArray[np.bool_], rounds: int
) -> Floats:
    """Which steps each sample is in, or would be if it were there, ``[nodes, rounds, numbers]``."""
    privacy = scenario.training.privacy
    assert privacy is not None  # noqa: S101 - the caller looked
    draws = SeededDraws(scenario.training.seed, cyclic=True, bands=privacy.bands)
    moved = np.zeros((len(counts), rounds, coins.shape[1]))
    numbers = np.arange(len(counts))
    apart = [batches_apart(float(rate)) for rate in rates]
    for step in range(min(rounds, max(apart))):
        batches = draws.next(numbers, np.full(len(counts), step), rates=rates).sampled(counts, rates)
        for node, batch in enumerate(batches):
            if step >= apart[node]:
                continue
            members = np.flatnonzero(coins[node])[batch]
            others = np.flatnonzero(~coins[node])[batch[batch < (~coins[node]).sum()]]
            for among in (members, others):
                moved[node, step :: apart[node], among] = 1.0
    return moved
