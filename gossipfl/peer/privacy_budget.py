"""The privacy budget of a peer's outgoing rows: spent before each is sent, and nothing is sent beyond it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from gossipfl.privacy.ledger import BudgetSpent, PrivacyLedger
from gossipfl.settings.outgoing import ClipSettings, NoiseSettings, OutgoingSettings

__all__ = ["Budget", "PrivacyBudget", "privacy_budget"]

logger = logging.getLogger(__name__)


class Budget(Protocol):
    """What allows rows to be sent."""

    def spend(self, rows: int) -> None:
        """Spend what a message of so many rows takes.

        Raises
        ------
        BudgetSpent
        """
        ...


class PrivacyBudget:
    """Counts each row that is sent as a Gaussian mechanism: clipped to a norm C, with noise of deviation σ.

    Two rows of norm C are at most 2C apart, so a row that is sent shifts by ``μ = 2C/σ``, whatever it was computed
    from.

    Parameters
    ----------
    ledger : PrivacyLedger
    shift : float
        μ of one row.
    note : callable
        Told what the operator should know once the budget is spent.
    """

    def __init__(self, ledger: PrivacyLedger, *, shift: float, note: Callable[[str], None]) -> None:
        self.ledger, self.shift, self._note = ledger, shift, note
        self._said = False

    def spend(self, rows: int) -> None:
        """Spend what a message of so many rows takes, before any noise of it is drawn.

        Raises
        ------
        BudgetSpent
        """
        try:
            self.ledger.spend(math.sqrt(rows) * self.shift)
        except BudgetSpent as error:
            if not self._said:
                logger.warning("%s", error)
            self._said = True
            self._note(str(error))
            raise


def privacy_budget(
    outgoing: Sequence[OutgoingSettings], path: Path, *, note: Callable[[str], None]
) -> PrivacyBudget | None:
    """Open the budget that tables ``[[outgoing]]`` set, with its ledger; None if they set none.

    Raises
    ------
    DamagedLedger
        If the ledger cannot be read.
    """
    norm = math.inf
    for each in outgoing:
        if isinstance(each, ClipSettings):
            norm = min(norm, each.norm)
        if isinstance(each, NoiseSettings) and each.epsilon is not None:
            ledger = PrivacyLedger(path, epsilon=each.epsilon, delta=each.delta)
            return PrivacyBudget(ledger, shift=2 * norm / each.deviation, note=note)
    return None
