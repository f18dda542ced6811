"""The ledger of private training: never too low, whatever ends the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gossipfl.errors import SettingError
from gossipfl.privacy.ledger import BudgetSpent, DamagedLedger, PrivacyLedger
from gossipfl.privacy.sampled_gaussian import Mechanism, sampled_epsilon
from gossipfl.privacy.step_ledger import StepLedger

DELTA = 1e-5
MECHANISM = Mechanism(0.2, 1.5)


def test_steps_stop_before_the_budget_is_exceeded(tmp_path: Path) -> None:
    path, taken = tmp_path / "ledger", 0
    ledger = StepLedger(path, epsilon=3.0, delta=DELTA)
    with pytest.raises(BudgetSpent, match="is spent"):
        while True:
            ledger.spend(MECHANISM)
            taken += 1
            if taken == 3:  # a restart in between
                ledger.close()
                ledger = StepLedger(path, epsilon=3.0, delta=DELTA)
    assert sampled_epsilon({MECHANISM: taken}, delta=DELTA) == pytest.approx(ledger.spent_epsilon())
    assert ledger.spent_epsilon() <= 3.0 < sampled_epsilon({MECHANISM: taken + 1}, delta=DELTA)
    ledger.close()
    other = Mechanism(0.4, 1.5)  # the data have halved
    again = StepLedger(path, epsilon=3.5, delta=DELTA)
    while again.left(other) >= 1:
        again.spend(other)
    assert again.steps[MECHANISM] == taken
    assert 0 < again.steps[other] < taken
    assert again.spent_epsilon() <= 3.5
    again.close()


def test_rows_released_before_are_composed(tmp_path: Path) -> None:
    rows = PrivacyLedger(tmp_path / "ledger", epsilon=100.0, delta=DELTA)
    rows.spend(0.5)
    rows.close()
    ledger = StepLedger(tmp_path / "ledger", epsilon=None, delta=DELTA)
    ledger.spend(MECHANISM)
    assert ledger.left(MECHANISM) == float("inf")
    assert ledger.spent_epsilon() == pytest.approx(sampled_epsilon({MECHANISM: 1}, delta=DELTA, shift=0.5))
    ledger.close()
    with pytest.raises(SettingError, match="steps of private training"):
        PrivacyLedger(tmp_path / "ledger", epsilon=100.0, delta=DELTA)


_TRAINING = """
import os, sys
from pathlib import Path
from gossipfl.privacy.sampled_gaussian import Mechanism
from gossipfl.privacy.step_ledger import StepLedger
ledger = StepLedger(Path(sys.argv[1]), epsilon=None, delta=1e-5)
while True:
    ledger.spend(Mechanism(0.2, 1.5))
    os.write(1, b".")  # what is shared
"""


def test_after_kill_9_the_ledger_has_all_steps(tmp_path: Path) -> None:
    path, taken = tmp_path / "ledger", 0
    for start in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _TRAINING, str(path)], stdout=subprocess.PIPE, env=os.environ
        )
        assert process.stdout is not None
        for _ in range(5 + 7 * start):
            taken += len(process.stdout.read(1))
        process.send_signal(signal.SIGKILL)
        taken += len(process.stdout.read())
        process.wait()
        ledger = StepLedger(path, epsilon=None, delta=DELTA)
        assert taken <= ledger.steps[MECHANISM] <= taken + start + 1
        ledger.close()


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
        StepLedger(path, epsilon=1, delta=DELTA)
