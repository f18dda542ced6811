"""Training steps in the ledger, and rows beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipfl.errors import SettingError
from gossipfl.privacy.ledger import BudgetSpent, DamagedLedger, PrivacyLedger
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon

DELTA = 1e-5
MECHANISM = Mechanism(0.2, 1.5)


def test_steps_stop_before_the_budget_is_exceeded(tmp_path: Path) -> None:
    path, taken = tmp_path / "ledger", 0
    ledger = PrivacyLedger(path, epsilon=3.0, delta=DELTA, of_samples=True)
    with pytest.raises(BudgetSpent, match="is spent"):
        while True:
            ledger.spend_step(MECHANISM)
            taken += 1
            if taken == 3:  # a restart in between
                ledger.close()
                ledger = PrivacyLedger(path, epsilon=3.0, delta=DELTA, of_samples=True)
    assert sampled_epsilon({MECHANISM: taken}, delta=DELTA) == pytest.approx(ledger.spent_epsilon())
    assert ledger.spent_epsilon() <= 3.0 < sampled_epsilon({MECHANISM: taken + 1}, delta=DELTA)
    ledger.close()
    other = Mechanism(0.4, 1.5)  # the data have halved
    again = PrivacyLedger(path, epsilon=3.5, delta=DELTA, of_samples=True)
    while again.left(other) >= 1:
        again.spend_step(other)
    assert again.steps[MECHANISM] == taken
    assert 0 < again.steps[other] < taken
    assert again.spent_epsilon() <= 3.5
    again.close()


def test_rows_released_before_are_composed(tmp_path: Path) -> None:
    rows = PrivacyLedger(tmp_path / "ledger", epsilon=100.0, delta=DELTA)
    rows.spend(0.5)
    rows.close()
    ledger = PrivacyLedger(tmp_path / "ledger", epsilon=None, delta=DELTA, of_samples=True)
    ledger.spend_step(MECHANISM)
    assert ledger.left(MECHANISM) == float("inf")
    assert ledger.spent_epsilon() == pytest.approx(sampled_epsilon({MECHANISM: 1}, delta=DELTA, shift=0.5))
    ledger.close()
    with pytest.raises(SettingError, match="steps of private training"):
        PrivacyLedger(tmp_path / "ledger", epsilon=100.0, delta=DELTA)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "x",
        '{"releases": 3, "spent": 0.0, "steps": [[0.2, 1.5, 1]]}',
        '{"releases": 3, "spent": 0.0, "steps": []}',
        '{"releases": 3, "spent": 0.0, "steps": [[0.2, 1.5, 3], [2.0, 1.5, 1]]}',
        '{"releases": 3, "spent": 0.0, "steps": 3}',
    ],
)
def test_a_damaged_ledger_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger"
    path.write_text(f'{{"releases": 2, "spent": 0.0, "steps": [[0.2, 1.5, 2]]}}\n{line}\n', encoding="utf-8")
    with pytest.raises(DamagedLedger, match="ledger:2"):
        PrivacyLedger(path, epsilon=1, delta=DELTA, of_samples=True)
