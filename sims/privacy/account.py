"""The account of a scenario or of recorded peers: its linear run, with the noise that is declared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sims.privacy.bounds import Bound, bound_of, rows_sent
from sims.privacy.declared import declared_noise
from sims.privacy.errors import NotAccountable
from sims.privacy.leaving import Leaving, leaving_of
from sims.privacy.linear_run import LinearRun
from sims.privacy.recorded_values import leaving_of_homes, values_of_homes
from sims.privacy.recordings import recorded_run
from sims.privacy.round_mechanisms import RoundsLoss, rounds_loss
from sims.privacy.sampling import PrivateTraining
from sims.privacy.sources import homes_of, one_scenario, private_training_of, run_of_scenario
from sims.privacy.value_noise import ValueNoise, with_noise_on_values
from sims.world import build_world

__all__ = ["Account", "account_of"]


@dataclass(frozen=True, kw_only=True)
class Account:
    """A run with all its noise, and what is promised beside it.

    Parameters
    ----------
    run : LinearRun
    values : ValueNoise
    training : PrivateTraining, optional
        Of each sample, whoever looks.
    rounds : RoundsLoss, optional
        By the published formula of an algorithm with noise.
    bound : Bound, optional
        Where rows are changed after their noise: instead of the exact losses.
    """

    run: LinearRun
    values: ValueNoise | None
    training: PrivateTraining | None = None
    rounds: RoundsLoss | None = None
    bound: Bound | None = None


def account_of(
    sources: Sequence[str],
    *,
    overrides: Sequence[str] = (),
    noise: float | None = None,
    sensitivity: float | None = None,
    delta: float,
    on_progress: Callable[[float], None] = lambda rounds: None,
) -> Account:
    """Account for a scenario, a simulated run, or the peers whose homes are given.

    Parameters
    ----------
    sources, overrides : sequence of str
    noise, sensitivity : float, optional
        As for `declared_noise`.
    delta : float
    on_progress : callable, optional
        Told how many rounds are done.

    Raises
    ------
    NotAccountable
        If what nodes do is not linear, or nothing in it is private.
    SettingError
        If other noise is asked for than is declared.
    """
    homes = homes_of(sources, overrides=overrides)
    training = private_training_of(sources, overrides=overrides)
    if homes:
        leaving, rounds = leaving_of_homes(homes), None

        def found(deviation: float | None = None) -> LinearRun:
            return recorded_run(homes, deviation=deviation)

        def declared(*, is_alone: bool) -> ValueNoise:
            return values_of_homes(homes, is_alone=is_alone, noise=noise, sensitivity=sensitivity)
    else:
        scenario = one_scenario(sources, overrides=overrides)
        leaving = leaving_of(scenario.outgoing, scenario.algorithm.codec or "")
        rounds = rounds_loss(scenario, delta=delta)

        def found(deviation: float | None = None) -> LinearRun:
            return run_of_scenario(scenario, deviation=deviation, on_progress=on_progress)

        def declared(*, is_alone: bool) -> ValueNoise:
            return declared_noise(
                scenario.training,
                scenario.algorithm.of_rounds() if scenario.algorithm.in_rounds else None,
                samples=build_world(scenario).trainer.data.counts,
                trains=scenario.training.enabled,
                is_alone=is_alone,
                noise=noise,
                sensitivity=sensitivity,
            )

    if leaving.changes:
        run, values, bound = _bounded(leaving, found, declared)
    else:
        run, bound = found(), None
        values = declared(is_alone=_is_alone(run))
        run = with_noise_on_values(run, values)
    return Account(run=run, values=values, training=training, rounds=rounds, bound=bound)


def _bounded(
    leaving: Leaving, found: Callable[[float], LinearRun], declared: Callable[..., ValueNoise]
) -> tuple[LinearRun, ValueNoise | None, Bound]:
    """The run without what is not linear, the noise on its values, if it is known, and what losses are at most."""
    run, values, rows = found(leaving.deviation), None, None
    if math.isfinite(leaving.row_shift):
        rows = rows_sent(found(1.0))
    try:
        values = declared(is_alone=_is_alone(run) and rows is None)
    except NotAccountable:  # nobody knows how far data move values; how far they move rows may be known
        if rows is None:
            raise
    return run, values, bound_of(run, leaving, values, rows=rows)


def _is_alone(run: LinearRun) -> bool:
    """Whether nothing but values enters."""
    return run.noise is None or bool(run.noise.private.all())
