"""Every partition is total and exact; each scheme has the skew it is named for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gossipfl.errors import InvalidPartition
from gossipfl.tasks import partition

Labels = NDArray[np.int64]


def labels_of(classes: int, each: int) -> Labels:
    return np.repeat(np.arange(classes), each)[np.random.default_rng(0).permutation(classes * each)]


def label_counts(labels: Labels, parts: list[Labels]) -> NDArray[np.int64]:
    return np.stack([np.bincount(labels[part], minlength=labels.max() + 1) for part in parts])


def assert_total_and_exact(parts: list[Labels], samples: int, peers: int) -> None:
    assert len(parts) == peers
    assert all(len(part) > 0 for part in parts)
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in parts)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(samples))


schemes = st.one_of(
    st.just("iid"),
    st.integers(1, 4).map(lambda k: f"shards:{k}"),
    st.floats(1e-6, 1e6).map(lambda alpha: f"dirichlet:{alpha}"),
    st.floats(1e-3, 20).map(lambda sigma: f"quantity:{sigma}"),
)


@settings(deadline=None, max_examples=150)
@given(
    scheme=schemes,
    labels=st.lists(st.integers(0, 9), min_size=1, max_size=200),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**63),
)
def test_every_sample_goes_to_exactly_one_peer_and_none_is_left_without(
    scheme: str, labels: list[int], fraction: float, seed: int
) -> None:
    shards = int(scheme.partition(":")[2]) if scheme.startswith("shards") else 1
    peers = max(1, int(fraction * (len(labels) // shards)))
    if peers * shards > len(labels):
        return
    array = np.array(labels)
    parts = partition(array, peers, scheme, seed=seed)
    assert_total_and_exact(parts, len(labels), peers)
    again = partition(array, peers, scheme, seed=seed)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))
    assert array.tolist() == labels


@pytest.mark.parametrize("scheme", ["iid", "shards:2", "dirichlet:0.5", "quantity:1"])
def test_another_seed_gives_another_partition(scheme: str) -> None:
    labels = labels_of(10, 50)
    first, second = (partition(labels, 8, scheme, seed=seed) for seed in (0, 1))
    assert any(not np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("scheme", ["iid", "dirichlet:1e-4", "dirichlet:1e300", "quantity:1000"])
@pytest.mark.parametrize("peers", [1, 2, 299, 300])
def test_extremes_are_still_total_and_exact(scheme: str, peers: int) -> None:
    for seed in range(5):
        assert_total_and_exact(partition(labels_of(3, 100), peers, scheme, seed=seed), 300, peers)


def test_iid_parts_are_equal_in_size_and_alike_in_labels() -> None:
    labels = labels_of(10, 1000)
    counts = label_counts(labels, partition(labels, 8, "iid", seed=3))
    assert np.ptp(counts.sum(axis=1)) <= 1
    chi_square = ((counts - 125) ** 2 / 125).sum()
    assert chi_square < 104  # the 0.999 quantile with 9 · 7 degrees of freedom


@pytest.mark.parametrize("shards", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_shards_hold_few_labels(shards: int, seed: int) -> None:
    labels = labels_of(10, 144)  # 8 peers: every shard is shorter than a class, or spans one boundary or two
    parts = partition(labels, 8, f"shards:{shards}", seed=seed)
    counts = label_counts(labels, parts)
    boundaries_of_a_shard = -(-1440 // (8 * shards) // 144)
    assert (counts > 0).sum(axis=1).max() <= shards * (1 + boundaries_of_a_shard)
    assert np.ptp(counts.sum(axis=1)) <= shards


def test_shards_that_fit_the_classes_hold_exactly_as_many_labels_as_shards_or_fewer() -> None:
    labels = labels_of(10, 160)
    counts = label_counts(labels, partition(labels, 10, "shards:2", seed=0))
    assert ((counts > 0).sum(axis=1) <= 2).all()
    assert (counts.sum(axis=1) == 160).all()


def largest_share_of_a_label(alpha: float, seed: int) -> float:
    labels = labels_of(10, 500)
    counts = label_counts(labels, partition(labels, 10, f"dirichlet:{alpha}", seed=seed))
    return float((counts / 500).max(axis=0).mean())


def test_dirichlet_goes_from_identical_to_one_owner_per_label() -> None:
    shares = [np.mean([largest_share_of_a_label(a, seed) for seed in range(3)]) for a in (1e6, 10, 0.5, 1e-4)]
    assert shares[0] == pytest.approx(0.1, abs=0.002)
    assert shares == sorted(shares)
    assert shares[-1] > 0.99


def test_dirichlet_proportions_have_the_variance_of_their_distribution() -> None:
    labels = np.zeros(100_000, dtype=np.int64)
    alpha, peers = 0.5, 4
    sizes = [[len(p) for p in partition(labels, peers, f"dirichlet:{alpha}", seed=s)] for s in range(200)]
    shares = np.array(sizes) / len(labels)
    assert shares.mean(axis=0) == pytest.approx(1 / peers, abs=0.05)
    variance = (1 / peers) * (1 - 1 / peers) / (alpha * peers + 1)
    assert shares.var(axis=0) == pytest.approx(variance, rel=0.25)


def test_quantity_sizes_are_lognormal_and_labels_alike() -> None:
    labels = labels_of(2, 500_000)
    parts = partition(labels, 1000, "quantity:0.5", seed=0)
    logs = np.log([len(part) for part in parts])
    assert logs.std() == pytest.approx(0.5, rel=0.08)
    standard = (logs - logs.mean()) / logs.std()
    assert abs((standard**3).mean()) < 0.3  # skewness of a normal: 0
    assert (standard**4).mean() == pytest.approx(3, abs=0.6)  # kurtosis of a normal: 3
    fractions = label_counts(labels, parts)[:, 0] / np.array([len(part) for part in parts])
    assert fractions.mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("shard:2", "unknown partition 'shard:2'.*Did you mean 'shards'"),
        ("dirichelt:1", "Did you mean 'dirichlet'"),
        ("", "unknown partition ''; expected iid, shards:K"),
        ("iid:3", "'iid' takes no parameter.*'3'"),
        ("shards", r"'shards' needs a parameter; expected shards:NUMBER with a positive whole number"),
        ("shards:2.5", "positive whole number; got '2.5'"),
        ("shards:0", "got '0'"),
        ("shards:-1", "got '-1'"),
        ("shards:26", "more shards than samples; expected at most 100 shards; got 4 × 26"),
        ("dirichlet:", "dirichlet:NUMBER with a positive number; got ''"),
        ("dirichlet:nan", "got 'nan'"),
        ("dirichlet:inf", "got 'inf'"),
        ("dirichlet:0", "got '0'"),
        ("quantity:much", "got 'much'"),
    ],
)
def test_a_wrong_scheme_is_refused_with_what_would_be_right(scheme: str, message: str) -> None:
    with pytest.raises(InvalidPartition, match=message):
        partition(labels_of(10, 10), 4, scheme, seed=0)


@pytest.mark.parametrize("peers", [0, -1, 101])
def test_more_peers_than_samples_are_refused(peers: int) -> None:
    with pytest.raises(InvalidPartition, match=f"expected 1 … 100 peers; got {peers}"):
        partition(labels_of(10, 10), peers, "iid", seed=0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InvalidPartition, match="seed of a partition is negative"):
        partition(labels_of(10, 10), 4, "iid", seed=-1)
