from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import HomeError, SettingError
from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.gaussian import delta_of, largest_shift
from gossipfl.privacy.ledger import BudgetSpent, DamagedLedger, PrivacyLedger
from gossipfl.privacy.sampled_gaussian import Mechanism


@given(st.floats(0.01, 50), st.floats(1e-12, 0.1))
@settings(max_examples=50, deadline=None)
def test_largest_shift_is_the_one_of_dp_accounting(epsilon: float, delta: float) -> None:
    mu = largest_shift(epsilon, delta)
    assert delta_of(mu, epsilon) <= delta < delta_of(mu * (1 + 1e-6), epsilon)
    assert gaussian_guarantee(mu, delta=delta).epsilon == pytest.approx(epsilon, rel=1e-5)


def test_releases_stop_before_the_budget_is_exceeded(tmp_path: Path) -> None:
    ledger = PrivacyLedger(tmp_path / "ledger", epsilon=2, delta=1e-5)
    shared = 0
    with pytest.raises(BudgetSpent, match="is spent"):
        while True:
            ledger.spend(0.1)
            shared += 1
    assert gaussian_guarantee(0.1 * math.sqrt(shared), delta=1e-5).epsilon <= 2
    assert gaussian_guarantee(0.1 * math.sqrt(shared + 1), delta=1e-5).epsilon > 2
    assert not ledger.allows(0.1)
    ledger.close()
    again = PrivacyLedger(tmp_path / "ledger", epsilon=2, delta=1e-5)
    assert (again.releases, again.spent) == (shared, ledger.spent)
    with pytest.raises(BudgetSpent):
        again.spend(0.1)


_SHARING = """
import os, sys
from pathlib import Path
from gossipfl.privacy.ledger import PrivacyLedger
from gossipfl.privacy.sampled_gaussian import Mechanism
of_samples = sys.argv[2] == "True"
ledger = PrivacyLedger(Path(sys.argv[1]), epsilon=None, delta=1e-5, of_samples=of_samples)
release = (lambda: ledger.spend_step(Mechanism(0.2, 1.5))) if of_samples else (lambda: ledger.spend(0.5))
while True:
    release()
    os.write(1, b".")  # what is shared
"""


@pytest.mark.parametrize("of_samples", [False, True])
def test_after_kill_9_the_ledger_has_all_that_was_shared(tmp_path: Path, *, of_samples: bool) -> None:
    path, shared = tmp_path / "ledger", 0
    for start in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _SHARING, str(path), str(of_samples)],
            stdout=subprocess.PIPE,
            env=os.environ,
        )
        assert process.stdout is not None
        for _ in range(5 + 7 * start):
            shared += len(process.stdout.read(1))
        process.send_signal(signal.SIGKILL)
        shared += len(process.stdout.read())
        process.wait()
        ledger = PrivacyLedger(path, epsilon=None, delta=1e-5, of_samples=of_samples)
        assert shared <= ledger.releases <= shared + start + 1  # a start may die between the two
        steps = ledger.steps.get(Mechanism(0.2, 1.5), 0)
        assert steps >= shared if of_samples else ledger.spent >= 0.25 * shared
        ledger.close()


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """Rows and steps had ledgers of their own, with the same lines but for steps."""
    rows, steps = tmp_path / "rows", tmp_path / "steps"
    rows.write_text('{"releases": 1, "spent": 0.25}\n{"releases": 2, "spent": 0.5}\n', encoding="utf-8")
    steps.write_text('{"releases": 7, "spent": 0.5, "steps": [[0.2, 1.5, 5]]}\n', encoding="utf-8")
    assert PrivacyLedger(rows, epsilon=9.0, delta=1e-5).spent == 0.5
    ledger = PrivacyLedger(steps, epsilon=None, delta=1e-5, of_samples=True)
    assert (ledger.releases, ledger.spent, ledger.steps) == (7, 0.5, {Mechanism(0.2, 1.5): 5})


@given(st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_a_torn_line_leaves_the_whole_ones(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger"
    ledger = PrivacyLedger(path, epsilon=10, delta=1e-5)
    for _ in range(5):
        ledger.spend(0.1)
    ledger.close()
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - cut)])
    after = PrivacyLedger(path, epsilon=10, delta=1e-5)
    assert after.releases == content[: max(0, len(content) - cut)].count(b"\n")
    after.close()


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        '{"releases": 1e400, "spent": 0.3}',
        '{"releases": 1, "spent": 0.1}',
        '{"releases": 3, "spent": null}',
        "x",
    ],
)
def test_a_damaged_ledger_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ledger"
    path.write_text(f'{{"releases": 2, "spent": 0.2}}\n{line}\n', encoding="utf-8")
    with pytest.raises(DamagedLedger, match="ledger:2"):
        PrivacyLedger(path, epsilon=1, delta=1e-5)


@pytest.mark.parametrize("left", [0, 3, 7])
@pytest.mark.parametrize("is_removed", [False, True])
def test_a_ledger_that_lost_releases_is_refused(tmp_path: Path, left: int, *, is_removed: bool) -> None:
    """Removed, emptied, or put back as it was long ago; with fewer than half of its releases it is noticed."""
    path = tmp_path / "privacy.jsonl"
    ledger = PrivacyLedger(path, epsilon=10, delta=1e-5)
    for _ in range(15):
        ledger.spend(0.1)
    ledger.close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:left]))
    if is_removed:
        path.unlink()
    with pytest.raises(DamagedLedger, match=r"expected 8 or more.* got (0|3|7)"):
        PrivacyLedger(path, epsilon=10, delta=1e-5)
    path.write_bytes(b"".join(lines))
    for _ in range(2):  # as often as it is opened
        again = PrivacyLedger(path, epsilon=10, delta=1e-5)
        assert again.releases == 15
        again.close()
    path.write_bytes(b"".join(lines[:14]))
    with pytest.raises(DamagedLedger, match="expected 15 or more"):
        PrivacyLedger(path, epsilon=10, delta=1e-5)


@pytest.mark.parametrize("content", [b"many\n", b"-1\n", b"\xff"])
def test_a_damaged_count_of_releases_is_refused(tmp_path: Path, content: bytes) -> None:
    PrivacyLedger(tmp_path / "privacy.jsonl", epsilon=1, delta=1e-5).close()
    (tmp_path / "privacy.floor").write_bytes(content)
    with pytest.raises(DamagedLedger, match=r"privacy\.floor"):
        PrivacyLedger(tmp_path / "privacy.jsonl", epsilon=1, delta=1e-5)


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "privacy.jsonl").mkdir()
    with pytest.raises(HomeError, match="cannot open the ledger"):
        PrivacyLedger(tmp_path / "privacy.jsonl", epsilon=1, delta=1e-5)


def test_an_impossible_budget_is_refused(tmp_path: Path) -> None:
    for epsilon, delta in ((0, 1e-5), (1, 0), (math.inf, 1e-5), (math.nan, 1e-5)):
        with pytest.raises(SettingError, match="budget"):
            PrivacyLedger(tmp_path / "ledger", epsilon=epsilon, delta=delta)
