"""The sweeps that come with the package."""

from pathlib import Path

import pytest

import sims
from sims.sweeping.checking import check
from sims.sweeping.points import points_of
from sims.sweeping.workers import Room

READY = sorted(path.stem for path in (Path(sims.__file__).parent / "scenarios" / "sweeps").glob("*.toml"))


@pytest.mark.parametrize("name", READY)
def test_ready_made_sweeps_can_be_run(name):
    sweep = sims.load_sweep(name)
    every_kind = points_of(sweep)[:: 1 if len(points_of(sweep)) < 60 else 11]
    checked = check(sweep, every_kind, room=Room(size=None))
    assert any(entry.refusal is None for entry in checked)
