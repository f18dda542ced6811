"""The account of a scenario or of recorded peers: its linear run, with the noise that is declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sims.privacy.declared import declared_noise
from sims.privacy.linear_run import LinearRun
from sims.privacy.recorded_values import values_of_homes
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
    """

    run: LinearRun
    values: ValueNoise
    training: PrivateTraining | None = None
    rounds: RoundsLoss | None = None


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
        run = recorded_run(homes)
        values = values_of_homes(homes, is_alone=_is_alone(run), noise=noise, sensitivity=sensitivity)
        return Account(run=with_noise_on_values(run, values), values=values, training=training)
    scenario = one_scenario(sources, overrides=overrides)
    run = run_of_scenario(scenario, on_progress=on_progress)
    values = declared_noise(
        scenario.training,
        scenario.algorithm.of_rounds() if scenario.algorithm.in_rounds else None,
        samples=build_world(scenario).trainer.data.counts,
        trains=scenario.training.enabled,
        is_alone=_is_alone(run),
        noise=noise,
        sensitivity=sensitivity,
    )
    return Account(
        run=with_noise_on_values(run, values),
        values=values,
        training=training,
        rounds=rounds_loss(scenario, delta=delta),
    )


def _is_alone(run: LinearRun) -> bool:
    """Whether nothing but values enters."""
    return run.noise is None or bool(run.noise.private.all())
