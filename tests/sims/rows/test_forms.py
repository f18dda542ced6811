"""Rows in few bits: how far they are from what was written, and that a table of them is a table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.consensus import consensus_distance
from sims.engine.kept_rows import KeptRows
from sims.errors import InvalidScenario, NotSimulable
from sims.rows.forms import BUCKET, RowForm, rounding_keys
from sims.running import run
from sims.running.choice import simulation_of
from tests.sims.worlds import small, world_of

CPU = torch.device("cpu")
FORMS = [RowForm(bits, rounding) for bits in (8, 16) for rounding in ("random", "nearest")]


def keys(count: int, first: int = 0) -> torch.Tensor:
    return torch.arange(first, first + count)


def read(form: RowForm, rows: torch.Tensor, of: torch.Tensor | None) -> torch.Tensor:
    return form.read(*form.write(rows, of), width=rows.shape[1])


@given(st.sampled_from(FORMS), st.integers(1, 150), st.integers(0, 10**6), st.floats(-20, 20))
def test_no_number_moves_by_more_than_its_bound(form, width, seed, magnitude):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, width, dtype=torch.float64, generator=generator) * 10**magnitude
    step = torch.zeros_like(rows)
    for start in range(0, width, BUCKET):
        part = rows[:, start : start + BUCKET]
        step[:, start : start + BUCKET] = part.abs().amax(dim=1, keepdim=True) / form.largest
    bound = step * (0.5 if form.rounding == "nearest" else 1) * (1 + 1e-6)
    found = read(form, rows, keys(3, seed))
    assert ((found - rows).abs() <= bound).all()
    assert torch.equal(read(form, rows, None), read(RowForm(form.bits, "nearest"), rows, keys(3)))


def test_what_was_read_is_written_as_it_was():
    form, rows = RowForm(8), torch.randn(4, 130, generator=torch.Generator().manual_seed(1))
    once = read(form, rows, keys(4))
    assert (read(form, once, keys(4, 9)) - once).abs().max() < 1e-2 * once.abs().max()
    exact = torch.arange(-127.0, 128.0)[None, :64]
    assert torch.equal(read(RowForm(8, "nearest"), exact, None), exact)


def test_rounding_at_random_has_no_bias_and_keeps_small_updates():
    row = torch.tensor([[1.0, 0.3, -0.123, 0.0]], dtype=torch.float64)
    mean = read(RowForm(8), row.expand(20_000, -1), keys(20_000)).mean(dim=0)
    assert (mean - row[0]).abs().max() < 5 * (1 / 127) / 20_000**0.5
    update = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64) * 0.2 / 127
    walked = {rounding: row.expand(500, -1).clone() for rounding in ("random", "nearest")}
    for rounding, rows in walked.items():
        for step in range(50):
            rows[:] = read(
                RowForm(8, rounding),
                rows + update,
                rounding_keys(keys(500), keys(500) * 0, keys(500) * 0 + step, seed=3),
            )
    moved = {rounding: float((rows.mean(dim=0) - row[0])[1]) for rounding, rows in walked.items()}
    assert moved["random"] == pytest.approx(50 * 0.2 / 127, rel=0.05)
    assert abs(moved["nearest"]) < 0.5 / 127 + 1e-9


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_model_that_diverged_is_seen_to_have(broken):
    rows = torch.ones(2, 70)
    rows[1, 3] = broken
    found = read(RowForm(8), rows, keys(2))
    assert found[0].isfinite().all() and found[1, 64:].isfinite().all()
    assert not found[1, 3].isfinite()


def test_places_that_are_added_hold_what_is_copied_to_them():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(5, 100, generator=generator)
    rows = KeptRows.of(first, RowForm(16), places=6, device=CPU)
    assert torch.equal(rows[5:6], rows[0:1])
    before = rows[:].clone()
    rows.make_room(9)
    rows.copy(torch.tensor([1, 4]), torch.tensor([8, 6]))
    rows.make_room(12)
    rows.write(first[:1] * 2, None, np.array([2]), np.array([10]))
    expected = torch.cat([before, torch.zeros(6, 100)])
    expected[8], expected[6] = before[1], before[4]
    expected[2] = expected[10] = rows.form.read(*rows.form.write(first[:1] * 2, None), width=100)[0]
    assert torch.equal(rows[:], expected)
    assert torch.equal(rows.index_select(0, torch.tensor([10, 0, 8])), expected[[10, 0, 8]])
    again = KeptRows.of(first, RowForm(16), places=6, device=CPU)
    again.restore({name: array.copy() for name, array in rows.state().items()})
    assert torch.equal(again[:], expected)
    assert consensus_distance(rows.first(6), 90) == pytest.approx(consensus_distance(expected[:6], 90))


def test_a_run_says_what_it_measured_without_all_models():
    of_run = ("precision=float32", "stop.rounds=6", "evaluate.every=3", "output.rows=false")
    full, compact, again = (
        run(small(*of_run, f"engine.rows={rows}"), compile_when="never") for rows in ("full", "int8", "int8")
    )
    assert len(full.rows) == 24
    assert len(compact.rows) == 0
    assert compact.summary["result"] == again.summary["result"] != full.summary["result"]
    assert run(small(*of_run, "engine.rows=int8", "output.rows=true"), compile_when="never").rows.shape == (
        24,
        18,
    )
    for column in ("loss_mean", "consensus_distance"):
        assert compact.evaluations[column][-1] == pytest.approx(full.evaluations[column][-1], rel=0.1)


def test_what_needs_rows_in_full_is_refused_by_name():
    for other in ("gate={}", "evaluate.layers=true", "attack={name='sign_flip',share=0.1}"):
        with pytest.raises(InvalidScenario, match=r"engine\.rows = 'int8'"):
            small("engine.rows=int8", other)
    scenario = small("algorithm.name=d_psgd", "engine.rows=int8")
    with pytest.raises(NotSimulable, match=r"engine\.rows"):
        simulation_of(scenario, world_of(scenario), threads=1, compile_when="never", device="cpu")
