"""The ledger of a peer's privacy budget, of all kinds of releases: spent durably before anything is shared."""

from __future__ import annotations

import json
import math
from pathlib import Path

from gossipfl.errors import GossipflError, SettingError
from gossipfl.files import AppendedFile, cut_torn_line, named_errors, write_atomically
from gossipfl.privacy.gaussian import largest_shift
from gossipfl.privacy.guarantees import require_accounting
from gossipfl.privacy.sampled_gaussian import Mechanism, most_steps, sampled_epsilon
from topology.parsing import json_of

__all__ = ["BudgetSpent", "DamagedLedger", "PrivacyLedger"]


class BudgetSpent(GossipflError):
    """The privacy budget does not allow another release."""


class DamagedLedger(GossipflError):
    """The ledger of the privacy budget cannot be read, so nobody knows what is spent."""


class PrivacyLedger:
    """What a peer has spent of its budget (ε, δ), in a file that outlives it.

    There are two kinds of releases: Gaussian ones, which compose by adding the squares of their shifts μ (Dong,
    Roth and Su 2022), and training steps on sampled batches, which are counted by their mechanisms. A release is
    on the disk before the caller makes it: whenever the process dies, the ledger has at least what was shared.
    What was written down and then not shared counts as spent. A file beside it, ``privacy.floor`` for
    ``privacy.jsonl``, has a number that releases do not fall below: so a ledger that was removed, emptied or put
    back as it was is noticed, if it has lost half of its releases or any that it had when it was opened last.

    Parameters
    ----------
    path : Path
        Made if there is none.
    epsilon : float, optional
        The budget of all releases together; they are counted without a limit if there is none. It may be changed
        between starts; what is spent stays spent.
    delta : float
    of_samples : bool
        Whether the budget is for each sample. If not, it is for whole rows, of which steps on samples say nothing.

    Raises
    ------
    DamagedLedger
        If a whole line of the file is no entry, less is spent in one than in the line before, or releases are
        missing.
    HomeError
        If the disk refuses it.
    SettingError
        If the budget is none, the file counts steps and the budget is for rows, or dp-accounting is needed and not
        installed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as home:
    ...     ledger = PrivacyLedger(Path(home) / "privacy.jsonl", epsilon=1.0, delta=1e-5)
    ...     ledger.spend(0.1)
    ...     round(ledger.spent, 6), ledger.allows(1.0)
    (0.01, False)
    """

    def __init__(self, path: Path, *, epsilon: float | None, delta: float, of_samples: bool = False) -> None:
        if epsilon is not None and (not epsilon > 0 or not math.isfinite(epsilon) or not 0 < delta < 1):
            raise SettingError(
                "a privacy budget is (ε, δ)",
                expected="ε above 0, and δ between 0 and 1",
                got=f"{epsilon} and {delta}",
            )
        if epsilon is not None and of_samples:
            require_accounting()
        self.epsilon, self.delta, self.path, self._of_samples = epsilon, delta, path, of_samples
        self._largest = math.inf if epsilon is None else largest_shift(epsilon, delta) ** 2
        self._left: dict[Mechanism, float] = {}
        with named_errors(f"cannot open the ledger {path}"):
            self.releases, self.spent, self.steps = _read(path)
            self._floor = _Floor(path.with_suffix(".floor"))
            self._floor.require(self.releases, of=path)
        if self.steps and not of_samples:
            raise SettingError(
                f"{path} counts the steps of private training, which say nothing of whole rows",
                expected="a home that has released nothing but rows with noise",
                remedy="Keep [training.privacy], or begin with a new home.",
            )
        with named_errors(f"cannot open the ledger {path}"):
            self._file = AppendedFile(path)
            self._floor.raise_to(self.releases)

    def allows(self, shift: float) -> bool:
        """Whether a release of this shift (sensitivity over deviation of its noise) is within the budget."""
        if self.epsilon is None:
            return True
        total = self.spent + shift**2
        if not self._of_samples:
            return total <= self._largest
        return sampled_epsilon(self.steps, delta=self.delta, shift=math.sqrt(total)) <= self.epsilon

    def spend(self, shift: float) -> None:
        """Write a Gaussian release down; the caller may make it once this returns.

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
            raise self._is_spent()
        self.spent = math.nextafter(self.spent + shift**2, math.inf)  # never below the sum of all entries
        self._left = {}
        self._write()

    def left(self, mechanism: Mechanism) -> float:
        """Count the further steps of a kind that the budget allows: infinity without one."""
        if self.epsilon is None:
            return math.inf
        if mechanism not in self._left:
            shift = math.sqrt(self.spent)
            left = most_steps(mechanism, self.steps, epsilon=self.epsilon, delta=self.delta, shift=shift)
            self._left = {mechanism: left}
        return self._left[mechanism]

    def spend_step(self, mechanism: Mechanism) -> None:
        """Write a training step down; the caller may take it once this returns. It raises as `spend` does."""
        left = self.left(mechanism)
        if left < 1:
            raise self._is_spent()
        if mechanism in self._left:
            self._left[mechanism] = left - 1
        self.steps[mechanism] = self.steps.get(mechanism, 0) + 1
        self._write()

    def spent_epsilon(self) -> float:
        """Give ε of all that was spent, at δ of the budget, by Rényi divergences.

        Raises
        ------
        SettingError
            If dp-accounting is not installed.
        """
        return sampled_epsilon(self.steps, delta=self.delta, shift=math.sqrt(self.spent))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _is_spent(self) -> BudgetSpent:
        steps = sum(self.steps.values())
        return BudgetSpent(
            f"the privacy budget ε = {self.epsilon:g}, δ = {self.delta:g} is spent",
            expected="another release within it",
            got=f"μ² = {self.spent:.6g} and {steps} training steps spent in {self.releases} releases",
            remedy="Nothing more is shared. Raise the budget only if those whose data they are agree to it.",
        )

    def _write(self) -> None:
        self.releases += 1
        entry: dict[str, object] = {"releases": self.releases, "spent": self.spent}
        if self._of_samples:
            entry["steps"] = [[each.rate, each.multiplier, count] for each, count in self.steps.items()]
        self._file.append(f"{json.dumps(entry)}\n".encode())
        self._file.synchronise()
        if self.releases >= 2 * self._floor.releases:
            self._floor.raise_to(self.releases)


class _Floor:
    """How many releases a ledger has at least."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_bytes() if path.exists() else b"0"
        if not text.strip().isdigit():
            raise DamagedLedger(
                f"{path} is damaged",
                expected="a whole number",
                got=repr(text[:40]),
                remedy="Restore it from a backup of the home, with the ledger beside it.",
            )
        self.releases = int(text)

    def require(self, releases: int, *, of: Path) -> None:
        if releases < self.releases:
            raise DamagedLedger(
                f"{of} has lost releases that were made",
                expected=f"{self.releases} or more",
                got=releases,
                remedy="Restore the file from a backup of the home that is no older than the last release.",
            )

    def raise_to(self, releases: int) -> None:
        if releases > self.releases or not self.path.exists():
            write_atomically(self.path, f"{releases}\n".encode())
            self.releases = releases


def _read(path: Path) -> tuple[int, float, dict[Mechanism, int]]:
    """What the last whole line says; half a line was never followed by a release."""
    entries, spent, steps = 0, 0.0, dict[Mechanism, int]()
    if not path.exists():
        return entries, spent, steps
    cut_torn_line(path)
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entry = json_of(line)
            now, count = float(entry["spent"]), int(entry["releases"])
            found = {
                Mechanism(float(rate), float(noise)): int(n) for rate, noise, n in entry.get("steps", ())
            }
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
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
