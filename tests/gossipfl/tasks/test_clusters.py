"""Clusters see the same samples differently, training and test samples alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gossipfl.errors import InvalidPartition
from gossipfl.tasks import Dataset, find_task
from gossipfl.tasks.clusters import cluster_of, parse_clusters, seen_by_cluster
from gossipfl.tasks.digits import load_digits


def samples(inputs: Tensor, targets: Tensor) -> Dataset:
    return Dataset(train_inputs=inputs, train_targets=targets, test_inputs=inputs, test_targets=targets)


@given(side=st.integers(2, 5), turns=st.integers(0, 3), flat=st.booleans())
def test_images_are_turned_pixel_by_pixel(side: int, turns: int, flat: bool) -> None:
    images = torch.arange(2 * side * side, dtype=torch.float32).view(2, side, side)
    given_images = images.view(2, -1) if flat else images
    seen = seen_by_cluster(samples(given_images, torch.tensor([0, 1])), "rotation:4", turns)
    for of_training, of_test, image in zip(seen.train_inputs, seen.test_inputs, images, strict=True):
        turned = torch.from_numpy(np.rot90(image.numpy(), turns).copy())
        assert of_training.reshape(side, side).equal(turned)
        assert of_test.equal(of_training)
    assert seen.train_targets.equal(torch.tensor([0, 1]))


def test_two_clusters_of_images_are_half_a_turn_apart() -> None:
    images = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    seen = seen_by_cluster(samples(images, torch.zeros(3, dtype=torch.int64)), "rotation:2", 1)
    assert seen.train_inputs.equal(images.flip(-1, -2))


@given(st.integers(2, 12), st.data())
def test_clusters_agree_about_the_label_of_no_sample(classes: int, data: st.DataObject) -> None:
    clusters = data.draw(st.integers(2, classes))
    labels = torch.arange(classes).repeat(2)
    everybody = samples(torch.zeros(len(labels), 3), labels)
    seen = [
        seen_by_cluster(everybody, f"labels:{clusters}", cluster).train_targets for cluster in range(clusters)
    ]
    assert seen[0].equal(labels)
    for first, second in itertools.pairwise(seen):
        assert not (first == second).any()
    assert len({tuple(each.tolist()) for each in seen}) == clusters
    assert all(each.sort().values.equal(labels.sort().values) for each in seen)


def test_signs_are_negated() -> None:
    signs = torch.tensor([-1.0, 1.0, 1.0])
    assert seen_by_cluster(samples(torch.zeros(3, 2), signs), "labels:2", 1).test_targets.equal(-signs)


@pytest.mark.parametrize(
    "scheme", ["rotation", "rotation:3", "rotation:1", "labels:1", "labels:x", "colours:2", "labels:²"]
)
def test_other_schemes_are_refused(scheme: str) -> None:
    with pytest.raises(InvalidPartition, match="expected"):
        parse_clusters(scheme)


@pytest.mark.parametrize(
    ("inputs", "targets", "scheme"),
    [
        (torch.zeros(4, 7), torch.zeros(4, dtype=torch.int64), "rotation:4"),
        (torch.zeros(4, 3, 2), torch.zeros(4, dtype=torch.int64), "rotation:4"),
        (torch.zeros(4, 3), torch.tensor([0, 1, 2, 0]), "labels:4"),
        (torch.zeros(4, 3), torch.tensor([0.5, 1, 1, 1]), "labels:2"),
        (torch.zeros(4, 3), torch.tensor([-1.0, 1, 1, 1]), "labels:3"),
    ],
)
def test_samples_that_clusters_cannot_see_are_named(inputs: Tensor, targets: Tensor, scheme: str) -> None:
    with pytest.raises(InvalidPartition, match=r"clusters .*expected"):
        seen_by_cluster(samples(inputs, targets), scheme, 1)


def test_a_peer_of_the_digits_sees_what_its_cluster_sees() -> None:
    options = {"peers": 6, "index": 5, "partition": "shards:2"}
    upright = find_task("digits", options).dataset()
    turned = find_task("digits", {**options, "clusters": "rotation:4"})
    assert turned.name == "digits/0"
    own, quarter = turned.dataset(), cluster_of(5, 4)
    images = upright.train_inputs.view(-1, 8, 8).rot90(quarter, (1, 2)).reshape(-1, 64)
    assert own.train_inputs.equal(images)
    assert own.test_inputs.equal(
        load_digits().test_inputs.view(-1, 8, 8).rot90(quarter, (1, 2)).reshape(-1, 64)
    )
    with pytest.raises(InvalidPartition, match="rotation"):
        find_task("digits", {"clusters": "rotation:9"})
