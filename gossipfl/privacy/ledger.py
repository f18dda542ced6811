"""The ledger of a peer's privacy budget: spent durably before anything is shared."""

from __future__ import annotations

import json
import math
from pathlib import Path

from gossipfl.errors import GossipflError, SettingError
from gossipfl.files import AppendedFile, cut_torn_line
from gossipfl.privacy.gaussian import largest_shift

__all__ = ["BudgetSpent", "DamagedLedger", "PrivacyLedger"]


class BudgetSpent(GossipflError):
    """The privacy budget does not allow another release."""


class DamagedLedger(GossipflError):
    """The ledger of the privacy budget cannot be read, so nobody knows what is spent."""


class PrivacyLedger:
    """What a peer has spent of its budget (ε, δ), in a file that outlives it.

    Releases are Gaussian mechanisms, and compose by adding the squares of their shifts μ (Dong, Roth and Su 2022).
    A release is on the disk before the caller makes it: whenever the process dies, the ledger has at least what
    was shared. What was written down and then not shared counts as spent.

    Parameters
    ----------
    path : Path
        Made if there is none.
    epsilon, delta : float
        The budget of all releases together. It may be changed between starts; what is spent stays spent.

    Raises
    ------
    DamagedLedger
        If a whole line of the file is no entry, or less is spent in one than in the line before.
    SettingError
        If the budget is none, or the file counts steps of private training.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     ledger = PrivacyLedger(Path(home) / "privacy.jsonl", epsilon=1.0, delta=1e-5)
    ...     ledger.spend(0.1)
    ...     round(ledger.spent, 6), ledger.allows(1.0)
    (0.01, False)
    """

    def __init__(self, path: Path, *, epsilon: float, delta: float) -> None:
        if not epsilon > 0 or not math.isfinite(epsilon) or not 0 < delta < 1:
            raise SettingError(
                "a privacy budget is (ε, δ)",
                expected="ε above 0, and δ between 0 and 1",
                got=f"{epsilon} and {delta}",
            )
        self.epsilon, self.delta = epsilon, delta
        self.largest = largest_shift(epsilon, delta) ** 2
        self.path = path
        self.spent, self.releases = _read(path)
        self._file = AppendedFile(path)

    def allows(self, shift: float) -> bool:
        """Whether a release of this shift (sensitivity over deviation of the noise) is within the budget."""
        return self.spent + shift**2 <= self.largest

    def spend(self, shift: float) -> None:
        """Write a release down; the caller may make it once this returns.

        Parameters
        ----------
        shift : float
            Sensitivity over the deviation of the noise, at least 0.

        Raises
        ------
        BudgetSpent
            If it is more than is left; nothing is written.
        OSError
            If the disk refuses it. The release must not be made; it may count as spent.
        """
        if not shift >= 0:
            raise SettingError("a release shifts by some deviations", expected="at least 0", got=shift)
        if not self.allows(shift):
            raise BudgetSpent(
                f"the privacy budget ε = {self.epsilon:g}, δ = {self.delta:g} is spent",
                expected=f"μ² of at most {self.largest:.6g} in all",
                got=f"{self.spent:.6g} spent in {self.releases} releases, and {shift**2:.6g} more",
                remedy="Nothing more is shared. Raise the budget only if the participants agree to it.",
            )
        self.spent = math.nextafter(self.spent + shift**2, math.inf)  # never below the sum of all entries
        self.releases += 1
        entry = json.dumps({"releases": self.releases, "spent": self.spent})
        self._file.append(f"{entry}\n".encode())
        self._file.synchronise()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path) -> tuple[float, int]:
    """What the last whole line says; half a line was never followed by a release."""
    if not path.exists():
        return 0.0, 0
    cut_torn_line(path)
    spent, releases = 0.0, 0
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entry = json.loads(line)
            now, count = float(entry["spent"]), int(entry["releases"])
        except (ValueError, KeyError, TypeError):
            entry, now, count = {}, math.nan, 0
        if not now >= spent or not math.isfinite(now) or count <= releases:
            raise DamagedLedger(
                f"{path}:{number} is no entry of a ledger",
                expected="releases and spent, neither less than in the line before",
                remedy="Restore the file from a backup of the home that is no older than the last release.",
            )
        if entry.get("steps"):
            raise SettingError(
                f"{path} counts the steps of private training, which say nothing of whole rows",
                expected="a home that has released nothing but rows with noise",
                remedy="Keep [training.privacy], or begin with a new home.",
            )
        spent, releases = now, count
    return spent, releases
