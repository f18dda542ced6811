"""The bundled task: 1,797 handwritten digits of 8 × 8 pixels, and a small perceptron."""

from __future__ import annotations

import gzip
import io
from functools import partial

import numpy as np
import torch
from torch import nn

from gossipfl.errors import InvalidTask
from gossipfl.layout import SharePolicy
from gossipfl.tasks.clusters import cluster_of, parse_clusters, seen_by_cluster
from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.digit_shares import digits_file, name_of_share
from gossipfl.tasks.partition import partition
from gossipfl.tasks.task import Task

__all__ = ["digits", "load_digits", "perceptron"]

_TEST_SAMPLES = 360


def perceptron() -> nn.Module:
    """Build the 64-64-10 multi-layer perceptron (4,810 parameters)."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def load_digits(*, seed: int = 0) -> Dataset:
    """Read the digits that scikit-learn ships (Alpaydin & Kaynak 1998), pixels scaled to 0 … 1.

    The file is read directly: importing scikit-learn for it costs a second and 120 MB a peer.

    Parameters
    ----------
    seed : int
        Chooses the 360 test samples; the other 1,437 are for training.

    Raises
    ------
    InvalidTask
        If scikit-learn is not installed.
    """
    file = digits_file()
    if file is None:
        raise InvalidTask(
            "the digits task reads its data from scikit-learn, which is not installed",
            remedy="Install it: pip install 'gossipfl[demo]'.",
        )
    table = np.loadtxt(io.BytesIO(gzip.decompress(file.read_bytes())), delimiter=",", dtype=np.float32)
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(table))
    inputs = torch.from_numpy(table[order, :64] / 16)
    targets = torch.from_numpy(table[order, 64].astype(np.int64))
    return Dataset(
        train_inputs=inputs[_TEST_SAMPLES:],
        train_targets=targets[_TEST_SAMPLES:],
        test_inputs=inputs[:_TEST_SAMPLES],
        test_targets=targets[:_TEST_SAMPLES],
    )


def _own_share(scheme: str, clusters: str, peers: int, index: int, seed: int) -> Dataset:
    pooled = load_digits(seed=seed)
    own = partition(pooled.train_targets.numpy(), peers, scheme, seed=seed)[index]
    if clusters:
        pooled = seen_by_cluster(pooled, clusters, cluster_of(index, parse_clusters(clusters)[1]))
    samples = torch.from_numpy(own)
    return Dataset(
        train_inputs=pooled.train_inputs[samples],
        train_targets=pooled.train_targets[samples],
        test_inputs=pooled.test_inputs,
        test_targets=pooled.test_targets,
    )


def digits(
    *,
    partition: str = "iid",
    clusters: str = "",
    peers: int = 1,
    index: int = 0,
    seed: int = 0,
    local: str = "",
) -> Task:
    """Handwritten digits, divided among peers.

    Parameters
    ----------
    partition : str
        How the training samples are divided, e.g. ``"shards:2"``; see `gossipfl.tasks.partition`.
    clusters : str
        Clusters that see the samples differently, e.g. ``"rotation:4"``; see `gossipfl.tasks.clusters`. Peers
        belong to them in turn.
    peers, index : int
        Into how many parts, and which one is this peer's. The test samples are common to all, as the peer's
        cluster sees them.
    seed : int
        Seed of the train/test split, the partition and the initial row.
    local : str
        Pattern of the names of parameters that stay with their peer: ``"2.*"`` is the last layer, the head.

    Raises
    ------
    InvalidTask
        If no parameter has such a name.
    InvalidPartition
        If ``index`` is not below ``peers``, or there is no such scheme, or no such clusters. Whether there are
        samples enough for it is found out when they are read.
    """
    return Task(
        name=name_of_share(partition=partition, clusters=clusters, peers=peers, index=index, seed=seed),
        model=perceptron,
        data=partial(_own_share, partition, clusters, peers, index, seed),
        seed=seed,
        share=SharePolicy(local=(local,) if local else ()),
    )
