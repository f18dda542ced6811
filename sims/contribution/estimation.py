"""Measurement of what a scenario's participants give and gain, over all repeats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from sims.contribution.cross_prediction import LabelNoise, label_noise
from sims.contribution.flags import Flags, Found, compared, flags_at
from sims.contribution.gain import Gains, gains_of
from sims.contribution.game import LearningGame, Value
from sims.contribution.online import online_effects
from sims.contribution.reasons import DataTraits, reasons_of, traits_of
from sims.contribution.report import ContributionReport, Participant
from sims.contribution.shapley import Estimate, every_coalition, exact, leave_one_out, sampled
from sims.contribution.side_by_side import SideBySide
from sims.engine.programme import Compile
from sims.engine.workers import torch_threads
from sims.errors import InvalidScenario
from sims.metrics.gains import fairness_of_gains, rank_correlation
from sims.scenario import load_scenario
from sims.world import World, build_world
from sims.world.planted import planted_in
from sims.world.trace_cache import Traces

__all__ = ["contributions", "estimated", "flags_of", "noise_in"]

Floats = NDArray[np.float64]

#: Most participants all of whose coalitions are simulated unless permutations are asked for: 2⁸ = 256.
EXACT_UP_TO = 8


def contributions(
    scenario: Path | str,
    *,
    overrides: Sequence[str] = (),
    over: tuple[str, Sequence[str]] = ("training.seed", ("0",)),
    metric: str | None = None,
    value: Value | None = None,
    permutations: int | None = None,
    truncation: float | None = None,
    confidence: float = 0.95,
    threads: int = 1,
    compile_when: Compile = "never",
    traces: Traces | None = None,
    on_repeat: Callable[[int, int], None] | None = None,
) -> ContributionReport:
    """Measure what each participant of a scenario gives and gains.

    Parameters
    ----------
    scenario : path
        A TOML file, or the name of a ready-made scenario.
    overrides : sequence of str
        As for `sims.run`.
    over : tuple
        A key of the scenario, and the values it takes in the repeats: by default one repeat. If it is a key of the
        task, say the fold that is tested on, test samples of different repeats count as different ones.
    metric, value
        As in `LearningGame`.
    permutations : int, optional
        Sample Shapley values over this many permutations; by default all coalitions are simulated for up to 8
        participants, and twice as many permutations as participants are drawn for more; 0: no Shapley values, only
        what is lost without each.
    truncation : float, optional
        As in `sims.contribution.shapley.sampled`.
    confidence : float
    threads, compile_when, traces
        As for `sims.run`.
    on_repeat : callable, optional
        Told how many of how many repeats are done, before each.

    Raises
    ------
    SimulationError
        If the scenario is invalid, or its nodes cannot be looked at in coalitions.
    """
    key, values = over
    if not values or len(set(values)) < len(values):
        raise InvalidScenario("repeats must differ", expected=f"different values of {key}", got=list(values))
    games, estimates, left_out, matrices, online = [], [], [], [], []
    traces = Traces() if traces is None else traces
    noise: list[LabelNoise] = []
    for number, each in enumerate(values):
        if on_repeat is not None:
            on_repeat(number, len(values))
        chosen = load_scenario(scenario, overrides=[*overrides, f"{key}={each}"])
        world = build_world(chosen, traces=traces)
        with torch_threads():
            simulate = SideBySide(world, threads=threads, compile_when=compile_when)
            game = LearningGame(world, metric=metric, value=value, simulate=simulate)
            estimate, matrix = estimated(
                game, permutations=permutations, truncation=truncation, confidence=confidence, seed=number
            )
            left_out.append(leave_one_out(game, game.n))
            online.append(_given_online(world, threads, compile_when))
            noise.append(noise_in(game))
        games.append(game)
        estimates.append(estimate)
        matrices.append(matrix)
    with torch_threads():
        gains = gains_of(games, same_tests=not key.startswith("task."), confidence=confidence)
        traits = traits_of(games[0].world.trainer.data, noise[0])
        flags = [flags_of(game, each) for game, each in zip(games, noise, strict=True)]
    return _report(
        games,
        gains=gains,
        traits=traits,
        left_out=np.stack(left_out),
        online=np.mean(online, axis=0),
        flags=flags,
        shapley=_over_repeats(estimates, confidence),
        permutations=estimates[0].permutations,
        matrix=None if matrices[0] is None else np.mean([m for m in matrices if m is not None], axis=0),
    )


def estimated(
    game: LearningGame,
    *,
    permutations: int | None = None,
    truncation: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Estimate, Floats | None]:
    """Shapley values and, if all coalitions are simulated, what each gave to each, ``[n, n]``.

    Parameters
    ----------
    game : LearningGame
    permutations, truncation, confidence
        As in `contributions`.
    seed : int
        Draws the permutations.
    """
    n = game.n
    if permutations is None and n <= EXACT_UP_TO:
        masks = every_coalition(n)
        found = exact(game(masks))
        estimate = Estimate(values=found, low=found, high=found, permutations=0, coalitions=len(masks))
        return estimate, _who_gave_whom(game.of_members(masks))
    if permutations == 0:
        unknown = np.full(n, np.nan)
        return Estimate(values=unknown, low=unknown, high=unknown, permutations=0, coalitions=0), None
    drawn = 2 * n if permutations is None else permutations
    estimate = sampled(game, n, permutations=drawn, seed=seed, confidence=confidence, truncation=truncation)
    return estimate, None


def _given(matrix: Floats | None, shapley: Floats, left_out: Floats) -> Floats:
    """What each gave, as far as is known: to the others, or as a Shapley value, or what is lost without it."""
    if matrix is not None:
        return np.asarray(matrix.sum(axis=0))
    return shapley if np.isfinite(shapley).all() else left_out.mean(axis=0)


def noise_in(game: LearningGame) -> LabelNoise:
    """Look for wrong labels in a game, by models that learn as long as its participants."""
    world, steps = game.world, float(np.mean(game.steps))
    return label_noise(
        world.task, world.trainer, world.first_rows()[:1], steps=steps, seed=world.scenario.seed
    )


def flags_of(game: LearningGame, noise: LabelNoise) -> Flags:
    """Look for participants that stand out: by updates and gradients at the mean of all models, and labels."""
    return flags_at(game.world.trainer, game.together, noise)


def _found(games: list[LearningGame], flags: list[Flags]) -> dict[str, Found]:
    """What was found of what was planted, over all repeats."""
    total: dict[str, Found] = {}
    for game, each in zip(games, flags, strict=True):
        if game.world.scenario.planted is not None:
            for kind, found in compared(each, planted_in(game.world.scenario)).items():
                total[kind] = total[kind] + found if kind in total else found
    return total


def _given_online(world: World, threads: int, compile_when: Compile) -> Floats:
    """Mean online effect of each participant's models on its neighbours, ``[n]``; NaN if not measured."""
    effects = online_effects(world, threads=threads, compile_when=compile_when)
    if effects is None:
        return np.full(world.scenario.population.nodes, np.nan)
    heard = np.isfinite(effects).any(axis=0)
    return np.where(heard, np.nanmean(np.where(heard, effects, 0.0), axis=0), np.nan)


def _who_gave_whom(of_members: Floats) -> Floats:
    """Shapley values of each participant's own game among the others, ``[n, n]``: row j is what j got, from whom.

    Parameters
    ----------
    of_members : ndarray
        What each has in each coalition, ``[2ⁿ, n]``.
    """
    n = of_members.shape[1]
    found = np.zeros((n, n))
    codes = np.arange(2 ** (n - 1))
    for j in range(n):
        low = codes & ((1 << j) - 1)
        with_j = (codes >> j << (j + 1)) | 1 << j | low  # coalitions of the others, and j
        others = [i for i in range(n) if i != j]
        found[j, others] = exact(of_members[with_j, j])
    return found


def _report(
    games: list[LearningGame],
    *,
    gains: Gains,
    traits: DataTraits,
    left_out: Floats,
    online: Floats,
    flags: list[Flags],
    shapley: tuple[Floats, Floats, Floats],
    permutations: int,
    matrix: Floats | None,
) -> ContributionReport:
    game, world = games[0], games[0].world
    value, low, high = shapley
    ends = np.mean([each(np.array([[False] * game.n, [True] * game.n])) for each in games], axis=0)
    names = world.scenario.task.names_of(game.n)
    participants = tuple(
        Participant(
            number=i,
            name=names[i],
            samples=int(traits.samples[i]),
            honest=bool(world.honest[i]),
            alone=float(gains.alone[:, i].mean()),
            together=float(gains.together[:, i].mean()),
            gain=float(gains.mean[i]),
            gain_low=float(gains.low[i]),
            gain_high=float(gains.high[i]),
            better_in=int((gains.of_repeats[:, i] > 0).sum()),
            leave_one_out=float(left_out[:, i].mean()),
            shapley=float(value[i]),
            shapley_low=float(low[i]),
            shapley_high=float(high[i]),
            gave=None if matrix is None else float(matrix[:, i].sum()),
            received=None if matrix is None else float(matrix[i].sum()),
            online=float(online[i]),
            label_distance=float(traits.label_distance[i]),
            input_distance=float(traits.input_distance[i]),
            label_noise=float(traits.noise.share[i]),
            reasons=(*reasons_of(traits, i), *flags[0].among_others(i)) if gains.mean[i] < 0 else (),
            flags=tuple(flags[0].of(i)),
        )
        for i in range(game.n)
    )
    honest = world.honest
    return ContributionReport(
        scenario=world.scenario.name,
        metric=game.measure.name,
        value=game.value,
        repeats=len(games),
        coalitions=game.coalitions,
        rows=game.simulate.rows_simulated,
        exact=matrix is not None,
        permutations=permutations,
        nobody=float(ends[0]),
        everybody=float(ends[1]),
        participants=participants,
        who_gave_whom=None if matrix is None else tuple(tuple(map(float, row)) for row in matrix),
        online_and_left_out=rank_correlation(left_out.mean(axis=0)[honest], online[honest]),
        online_and_shapley=rank_correlation(value[honest], online[honest]),
        online_and_gave=(
            math.nan if matrix is None else rank_correlation(matrix.sum(axis=0)[honest], online[honest])
        ),
        found=_found(games, flags),
        fairness=fairness_of_gains(
            gains.together.mean(axis=0)[honest],
            gains.mean[honest],
            gave=_given(matrix, value, left_out)[honest],
            samples=traits.samples[honest],
            is_loss=game.measure.is_loss,
        ),
    )


def _over_repeats(estimates: list[Estimate], confidence: float) -> tuple[Floats, Floats, Floats]:
    """Mean values, and intervals: over repeats, or over permutations where there is one repeat."""
    if len(estimates) == 1:
        return estimates[0].values, estimates[0].low, estimates[0].high
    values = np.stack([each.values for each in estimates])
    mean, count = values.mean(axis=0), len(values)
    reach = (
        float(student.ppf((1 + confidence) / 2, count - 1)) * values.std(axis=0, ddof=1) / math.sqrt(count)
    )
    return mean, mean - reach, mean + reach
