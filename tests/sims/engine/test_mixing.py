"""Weighted sums of rows beside scipy's product."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from sims.engine.mixing import Mixing
from sims.engine.workers import Workers

CPU = torch.device("cpu")


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.integers(1, 40),
    width=st.integers(1, 70),
    density=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_sums_are_those_of_scipy_to_the_bit(nodes, width, density, dtype, threads, seed):
    generator = np.random.default_rng(seed)
    matrix = csr_array(random_array((nodes, nodes), density=density, format="csr", random_state=generator))
    rows = torch.from_numpy(generator.standard_normal((nodes, width))).to(dtype)
    workers = Workers(threads, always=True)
    try:
        found = Mixing(matrix, device=CPU, workers=workers)(rows)
    finally:
        workers.close()
    expected = matrix.astype(rows.numpy().dtype) @ rows.numpy()
    assert found.dtype == dtype
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("degree", range(20))
def test_every_number_of_neighbours_is_summed_in_order(degree):
    generator = np.random.default_rng(degree)
    rows = torch.from_numpy(generator.standard_normal((degree + 1, 37)).astype(np.float32))
    entries = np.arange(degree + 1)[::-1].copy()  # an order that is not that of the numbers
    weights = generator.standard_normal(degree + 1).astype(np.float32)
    matrix = csr_array((weights, entries, np.array([0, degree + 1])), shape=(1, degree + 1))
    found = Mixing(matrix, device=CPU, workers=Workers(1))(rows)
    expected = np.zeros(37, dtype=np.float32)
    for weight, j in zip(weights, entries, strict=True):
        expected += weight * rows[j].numpy()
    assert np.array_equal(found[0].numpy(), expected)


def test_rows_that_are_not_finite_spoil_their_neighbours_alone():
    matrix = csr_array(np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1.0]]))
    found = Mixing(matrix, device=CPU, workers=Workers(1))(torch.tensor([[torch.nan], [1.0], [2.0]]))
    assert found[:2].isnan().all()
    assert found[2] == 2


@pytest.mark.parametrize("rows", [torch.ones(4, 6)[:, ::2], torch.ones(6, 4).T[:, :3]])
def test_rows_need_not_be_contiguous(rows):
    matrix = csr_array(np.full((4, 4), 0.25))
    assert torch.equal(Mixing(matrix, device=CPU, workers=Workers(1))(rows), torch.ones(4, rows.shape[1]))


def test_memory_of_sums_is_used_again_only_when_nobody_holds_them():
    mixed, rows = Mixing(csr_array(np.eye(5)), device=CPU, workers=Workers(1)), torch.ones(5, 3)
    first = mixed(rows)
    place, part = first.data_ptr(), first[1:].view(-1)
    del first
    second = mixed(2 * rows)
    assert second.data_ptr() != place
    assert part.equal(torch.ones(12))
    other = second.data_ptr()
    del part, second
    third = mixed(3 * rows)
    assert third.data_ptr() in (place, other)
    assert third.equal(3 * rows)
    del third
    assert mixed(torch.ones(5, 4)).shape == (5, 4)
    assert mixed(rows.double()).dtype == torch.float64
