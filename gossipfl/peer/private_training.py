"""Private training of a peer: its secret batches and noise, and the budget that they spend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from secrets import token_bytes

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.outgoing import secret_normals, secret_words
from gossipfl.outgoing.noise import SECRET_BYTES
from gossipfl.privacy.factorised import noise_weights, sensitivities
from gossipfl.privacy.ledger import BudgetSpent, PrivacyLedger
from gossipfl.privacy.sampled_gaussian import Mechanism
from gossipfl.training import Trainer
from gossipfl.training.private import sampling_rates
from gossipfl.training.step_draws import StepDraws, StepOfDraws, batches_apart

__all__ = ["SecretDraws", "SpentTraining", "drawing_in_secret"]

logger = logging.getLogger(__name__)


class SecretDraws:
    """Batches and noise of a peer's steps, each from a fresh secret of the operating system's generator.

    Each step is in the ledger before anything of it is drawn.

    Parameters
    ----------
    ledger : PrivacyLedger
    multiplier : float
        Deviation of the noise, in units of the clip.
    rate : float
        Probability of the peer's samples to be in a batch.
    bands : int
        How many steps share noise, with cyclic batches; 0 for Poisson sampling.
    note : callable
        Told what the operator should know once the budget is spent.
    """

    _rate: float
    _taken: int
    _secret: bytes
    _moved: NDArray[np.float64]

    def __init__(
        self,
        ledger: PrivacyLedger,
        *,
        multiplier: float,
        rate: float,
        bands: int = 0,
        note: Callable[[str], None],
    ) -> None:
        self.ledger, self._multiplier, self._note = ledger, multiplier, note
        self.is_spent = False
        self._bands = bands
        self._begin_sequence(rate)
        if bands:
            self._look_ahead(rate)
        else:
            self._look(Mechanism(rate, multiplier))

    def next(
        self, numbers: NDArray[np.int64], steps: NDArray[np.int64], *, rates: NDArray[np.float64]
    ) -> StepOfDraws:
        """Begin a step; see `StepDraws`."""
        del numbers, steps
        if self._bands:
            return self._next_in_cycles(float(rates.max()))
        mechanism = Mechanism(float(rates.max()), self._multiplier)  # a larger rate costs more
        self._look(mechanism)
        self.ledger.spend_step(mechanism)
        self._look(mechanism)
        secret = token_bytes(SECRET_BYTES)
        return StepOfDraws(
            keys=torch.arange(len(rates)), words=secret_words(secret), normals=secret_normals(secret)
        )

    def _next_in_cycles(self, rate: float) -> StepOfDraws:
        """Begin the next step of this start's own sequence of batches and noise."""
        if rate != self._rate:
            self._begin_sequence(rate)
        self.ledger.spend(self._shift(rate))
        taken, self._taken = self._taken, self._taken + 1
        self._look_ahead(rate)
        earlier = [
            (weight, torch.tensor([taken - k]), torch.tensor([True]))
            for k, weight in enumerate(noise_weights(self._bands).tolist())
            if 0 < k <= taken
        ]
        return StepOfDraws(
            keys=torch.tensor([taken]),
            words=secret_words(self._secret),
            normals=secret_normals(self._secret),
            batches=np.array([taken]),
            earlier=earlier,
        )

    def _begin_sequence(self, rate: float) -> None:
        """Share noise with no earlier step: where there are more samples, some would come again too soon."""
        self._rate, self._taken = rate, 0
        self._secret = token_bytes(SECRET_BYTES)
        self._moved = np.zeros(0)

    def _shift(self, rate: float) -> float:
        """μ that the next step adds, in squares, to those before it."""
        if self._taken >= len(self._moved):
            steps = max(256, 2 * len(self._moved))
            self._moved = sensitivities(self._bands, apart=batches_apart(rate), steps=steps)
        return float(self._moved[self._taken]) / self._multiplier

    def _look_ahead(self, rate: float) -> None:
        if not self.is_spent and not self.ledger.allows(self._shift(rate)):
            self._say_spent(self.ledger.releases)

    def _look(self, mechanism: Mechanism) -> None:
        """Notice, and say, that the budget allows no further step."""
        if self.is_spent or self.ledger.left(mechanism) >= 1:
            return
        self._say_spent(sum(self.ledger.steps.values()))

    def _say_spent(self, steps: int) -> None:
        self.is_spent = True
        text = (
            f"the privacy budget of training, ε = {self.ledger.epsilon:g} at δ = {self.ledger.delta:g}, is spent "
            f"after {steps} steps: this peer trains on its samples no more"
        )
        logger.warning("%s", text)
        self._note(text)


class SpentTraining:
    """A budget of rows that is spent when that of training is; what is sent until then is counted in steps."""

    def __init__(self, draws: StepDraws) -> None:
        self._draws = draws

    def spend(self, rows: int) -> None:
        """Allow rows to be sent as long as the peer may train.

        Raises
        ------
        BudgetSpent
        """
        if self._draws.is_spent:
            raise BudgetSpent("the privacy budget of training is spent", got=f"{rows} rows to be sent")


def drawing_in_secret(trainer: Trainer, path: Path, *, note: Callable[[str], None]) -> Trainer:
    """Return a peer's trainer with secret draws and a ledger, if its training is private and its draws are secret.

    Parameters
    ----------
    trainer : Trainer
        Of one node.
    path : Path
        File of the ledger.

    Raises
    ------
    DamagedLedger
        If the ledger cannot be read.
    SettingError
        If there is a budget and dp-accounting is not installed.
    """
    privacy = trainer.settings.privacy
    if privacy is None or not privacy.secret:
        return trainer
    draws = SecretDraws(
        PrivacyLedger(path, epsilon=privacy.epsilon, delta=privacy.delta, of_samples=True),
        multiplier=privacy.noise_multiplier,
        rate=float(sampling_rates(trainer.data.counts, trainer.settings.batch_size).max()),
        bands=privacy.bands if privacy.sampling == "cyclic" else 0,
        note=note,
    )
    return replace(trainer, draws=draws)
