"""Batches: the same for the same (seed, node, step), exact over an epoch, uniform over epochs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gossipfl.training.batches import batch_positions, draw_seeds

Positions = NDArray[np.int64]


def batches(nodes: object, steps: object, counts: object, *, size: int, seed: int = 0) -> Positions:
    arrays = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(x, dtype=np.int64)) for x in (nodes, steps, counts))
    )
    return batch_positions(seed=seed, nodes=arrays[0], steps=arrays[1], counts=arrays[2], size=size)


def epoch(number: int, count: int, *, node: int = 0, seed: int = 0) -> Positions:
    """The whole order of one epoch, one sample a step."""
    return batches(node, np.arange(number * count, (number + 1) * count), count, size=1, seed=seed)[:, 0]


def chi_square(observed: NDArray[np.int64]) -> float:
    expected = observed.sum() / observed.size
    return float(((observed - expected) ** 2 / expected).sum())


def chi_square_bound(degrees: int) -> float:
    """About four deviations above the mean of the chi-square distribution, and a little for few degrees."""
    return degrees + 4 * np.sqrt(2 * degrees) + 4


@settings(deadline=None)
@given(
    size=st.integers(1, 12),
    rows=st.lists(
        st.tuples(st.integers(0, 2**62), st.integers(0, 2**40), st.integers(0, 300)), min_size=1, max_size=12
    ),
    seed=st.integers(0, 2**64),
)
def test_rows_drawn_together_equal_rows_drawn_one_at_a_time(
    size: int, rows: list[tuple[int, int, int]], seed: int
) -> None:
    nodes, steps, extra = np.array(rows, dtype=np.int64).T
    counts = size + extra
    together = batches(nodes, steps, counts, size=size, seed=seed)
    assert together.shape == (len(rows), size)
    assert together.dtype == np.int64
    assert (together >= 0).all()
    assert (together < counts[:, None]).all()
    for row, *one in zip(together, nodes, steps, counts, strict=True):
        assert np.array_equal(row, batches(*one, size=size, seed=seed)[0])


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(2, 400),
    size=st.integers(1, 50),
    node=st.integers(0, 2**62),
    start=st.integers(0, 2**20),
    seed=st.integers(0, 2**64 - 1),
)
def test_every_epoch_visits_each_sample_once(count: int, size: int, node: int, start: int, seed: int) -> None:
    size = min(size, count)
    first = start * count // size  # the stream from here on holds whole epochs, after the rest of one
    steps = np.arange(first, first + 3 * count // size + 3)
    stream = batches(node, steps, count, size=size, seed=seed).reshape(-1)
    skip = -(first * size) % count
    for number in range(2):
        whole = stream[skip + number * count : skip + (number + 1) * count]
        assert np.array_equal(np.sort(whole), np.arange(count))


def test_a_batch_that_is_all_a_node_has_comes_in_order() -> None:
    assert batches([1, 2, 3], [0, 5, 9], [4, 4, 7], size=4)[:2].tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("count", [5, 12, 64, 65, 180])
def test_every_sample_is_equally_likely_at_every_place_of_an_epoch(count: int) -> None:
    epochs = 200 * count
    steps = np.arange(epochs) * count
    for place in (0, 1, count // 2, count - 1):
        drawn = batches(7, steps + place, count, size=1)[:, 0]
        assert chi_square(np.bincount(drawn, minlength=count)) < chi_square_bound(count - 1)


@pytest.mark.parametrize("count", [5, 12, 37])
@pytest.mark.parametrize("distance", [1, -1])
def test_places_are_filled_independently(count: int, distance: int) -> None:
    epochs = 60 * count * count
    steps = np.arange(epochs) * count
    first, second = (batches(3, steps + place % count, count, size=1)[:, 0] for place in (0, distance))
    pairs = np.zeros((count, count), dtype=np.int64)
    np.add.at(pairs, (first, second), 1)
    assert (np.diag(pairs) == 0).all()
    off_diagonal = pairs[~np.eye(count, dtype=bool)]
    assert chi_square(off_diagonal) < chi_square_bound(off_diagonal.size - 1)


def test_all_orders_of_three_samples_occur_about_equally_often() -> None:
    orders = batches(0, np.arange(60_000), 3, size=1)[:, 0].reshape(-1, 3)
    codes, counts = np.unique(orders @ [9, 3, 1], return_counts=True)
    assert len(codes) == 6
    assert counts.min() > 0.5 * counts.mean()


@pytest.mark.parametrize("change", [{"node": 1}, {"seed": 1}, {"number": 1}])
def test_nodes_seeds_and_epochs_have_orders_of_their_own(change: dict[str, int]) -> None:
    reference = epoch(0, 1000)
    other = epoch(change.get("number", 0), 1000, node=change.get("node", 0), seed=change.get("seed", 0))
    agreements = int((reference == other).sum())
    assert agreements < 8  # Poisson with mean 1


def test_orders_of_many_nodes_are_uncorrelated() -> None:
    orders = batches(np.repeat(np.arange(200), 101), np.tile(np.arange(101), 200), 101, size=1).reshape(
        200, -1
    )
    correlations = np.corrcoef(orders)[~np.eye(200, dtype=bool)]
    assert abs(correlations.mean()) < 0.005
    assert correlations.std() == pytest.approx(1 / np.sqrt(100), rel=0.1)


def test_batches_are_these_on_every_platform_and_in_every_version() -> None:
    assert batches([0, 3], [0, 17], [10, 180], size=6, seed=42).tolist() == PINNED_BATCHES
    assert draw_seeds(seed=42, nodes=np.array([0, 3]), steps=np.array([0, 17])) == PINNED_SEEDS


def test_draw_seeds_differ_between_seeds_nodes_and_steps() -> None:
    nodes, steps = (grid.reshape(-1) for grid in np.meshgrid(np.arange(100), np.arange(100)))
    seeds = [number for seed in (0, 1) for number in draw_seeds(seed=seed, nodes=nodes, steps=steps)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= number < 2**63 for number in seeds)


PINNED_BATCHES = [[4, 1, 6, 8, 7, 0], [124, 112, 75, 174, 62, 118]]
PINNED_SEEDS = [814372353095003184, 8536762826820770992]
