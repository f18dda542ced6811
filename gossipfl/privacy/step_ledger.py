"""The ledger of private training: each step is written down durably before it is taken."""

from __future__ import annotations

import json
import math
from pathlib import Path

from gossipfl.files import AppendedFile, cut_torn_line
from gossipfl.privacy.guarantees import require_accounting
from gossipfl.privacy.ledger import BudgetSpent, DamagedLedger
from gossipfl.privacy.sampled_gaussian import Mechanism, most_steps, sampled_epsilon

__all__ = ["StepLedger"]


class StepLedger:
    """What a peer's training steps have spent of a budget (ε, δ) for each sample, in a file that outlives it.

    A step is on the disk before the caller takes it: whenever the process dies, the ledger has at least the steps
    whose outcome could have been shared. Rows with noise that were released before from the same home are in the
    file, too, and are composed with the steps.

    Parameters
    ----------
    path : Path
        Made if there is none.
    epsilon : float, optional
        Budget; steps are counted without a limit if there is none.
    delta : float

    Raises
    ------
    DamagedLedger
        If a whole line of the file is no entry, or less is spent in one than in the line before.
    SettingError
        If there is a budget and dp-accounting is not installed.
    """

    def __init__(self, path: Path, *, epsilon: float | None, delta: float) -> None:
        if epsilon is not None:
            require_accounting()
        self.epsilon, self.delta = epsilon, delta
        self.entries, self.spent, self.steps = _read(path)
        self._left: dict[Mechanism, float] = {}
        self._file = AppendedFile(path)

    def left(self, mechanism: Mechanism) -> float:
        """Count the further steps of a kind that the budget allows: infinity without one."""
        if self.epsilon is None:
            return math.inf
        if mechanism not in self._left:
            shift = math.sqrt(self.spent)
            left = most_steps(mechanism, self.steps, epsilon=self.epsilon, delta=self.delta, shift=shift)
            self._left = {mechanism: left}
        return self._left[mechanism]

    def spend(self, mechanism: Mechanism) -> None:
        """Write a step down; the caller may take it once this returns.

        Raises
        ------
        BudgetSpent
            If the budget does not allow it; nothing is written.
        OSError
            If the disk refuses it. The step must not be taken; it may count as spent.
        """
        left = self.left(mechanism)
        if left < 1:
            raise BudgetSpent(
                f"the privacy budget ε = {self.epsilon:g}, δ = {self.delta:g} is spent",
                expected=f"ε of at most {self.epsilon:g}",
                got=f"ε = {self.spent_epsilon():.6g} after {sum(self.steps.values())} training steps",
                remedy="Nothing more is trained or shared. Raise training.privacy.epsilon only if those whose "
                "data they are agree to it.",
            )
        if mechanism in self._left:
            self._left[mechanism] = left - 1
        self.steps[mechanism] = self.steps.get(mechanism, 0) + 1
        self._write()

    def allows(self, shift: float) -> bool:
        """Whether a Gaussian step of this shift (sensitivity over deviation of the noise) is within the budget."""
        if self.epsilon is None:
            return True
        total = math.sqrt(self.spent + shift**2)
        return sampled_epsilon(self.steps, delta=self.delta, shift=total) <= self.epsilon

    def spend_shift(self, shift: float) -> None:
        """Write a Gaussian step down, whose batch nobody need guess; as `spend`, and it raises the same."""
        if not self.allows(shift):
            raise BudgetSpent(f"the privacy budget ε = {self.epsilon:g}, δ = {self.delta:g} is spent")
        self.spent = math.nextafter(self.spent + shift**2, math.inf)
        self._left = {}
        self._write()

    def _write(self) -> None:
        self.entries += 1
        steps = [[each.rate, each.multiplier, count] for each, count in self.steps.items()]
        entry = json.dumps({"releases": self.entries, "spent": self.spent, "steps": steps})
        self._file.append(f"{entry}\n".encode())
        self._file.synchronise()

    def spent_epsilon(self) -> float:
        """Give ε of all that was spent, at δ of the budget.

        Raises
        ------
        SettingError
            If dp-accounting is not installed.
        """
        return sampled_epsilon(self.steps, delta=self.delta, shift=math.sqrt(self.spent))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path) -> tuple[int, float, dict[Mechanism, int]]:
    """What the last whole line says; half a line was never followed by a step."""
    entries, spent, steps = 0, 0.0, dict[Mechanism, int]()
    if not path.exists():
        return entries, spent, steps
    cut_torn_line(path)
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entry = json.loads(line)
            now, count = float(entry["spent"]), int(entry["releases"])
            found = {
                Mechanism(float(rate), float(noise)): int(n) for rate, noise, n in entry.get("steps", ())
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            now, count, found = math.nan, 0, {}
        less = any(found.get(each, 0) < before for each, before in steps.items())
        wrong = any(not 0 < each.rate <= 1 or not each.multiplier > 0 for each in found)
        if not now >= spent or not math.isfinite(now) or count <= entries or less or wrong:
            raise DamagedLedger(
                f"{path}:{number} is no entry of a ledger",
                expected="releases, spent and steps, none less than in the line before",
                remedy="Restore the file from a backup of the home that is no older than the last release.",
            )
        entries, spent, steps = count, now, found
    return entries, spent, steps
