"""Clustered data: groups of peers that see the same world differently, so that one model does not fit all.

Rotated images: Ghosh, Chung, Yin & Ramchandran, "An efficient framework for clustered federated learning", NeurIPS
2020, Section 6; labels in conflict: Sattler, Müller & Samek, "Clustered federated learning", IEEE Trans. Neural
Networks and Learning Systems 32(8), 2021, Section VI.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gossipfl.errors import InvalidPartition
from topology.spelling import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from gossipfl.tasks.dataset import Dataset

__all__ = ["cluster_of", "parse_clusters", "seen_by_cluster"]

_Index = TypeVar("_Index", int, NDArray[np.int64])

_KINDS = ("rotation", "labels")
_TURNS = (2, 4)


def parse_clusters(scheme: str) -> tuple[str, int]:
    """Read a scheme, before there is any data.

    Parameters
    ----------
    scheme : str
        ``"rotation:K"``, with K of 2 or 4: images of cluster c are turned by c/K of a full turn. ``"labels:K"``:
        the classes of cluster c are shifted by c/K of their number, so that clusters disagree about every sample;
        of targets −1 and 1, the second cluster's are negated.

    Returns
    -------
    kind : str
    clusters : int
        K.

    Raises
    ------
    InvalidPartition
        There is no such scheme.
    """
    kind, _, argument = scheme.partition(":")
    if kind not in _KINDS:
        raise InvalidPartition(
            f"there are no clusters {scheme!r}",
            expected="rotation:2, rotation:4 or labels:K",
            remedy=did_you_mean(kind, _KINDS),
        )
    clusters = int(argument) if argument.isdecimal() and len(argument) < 7 else 0
    if clusters < 2 or (kind == "rotation" and clusters not in _TURNS):
        raise InvalidPartition(
            f"clusters of {kind!r} need their number",
            expected="rotation:2 or rotation:4" if kind == "rotation" else "labels:K, with K of at least 2",
            got=repr(scheme),
        )
    return kind, clusters


def cluster_of(index: _Index, clusters: int) -> _Index:
    """Return the cluster of a peer, or of many: peers belong to clusters in turn."""
    return index % clusters


def seen_by_cluster(dataset: Dataset, scheme: str, cluster: int) -> Dataset:
    """Change samples into what a cluster sees: training and test samples alike.

    Parameters
    ----------
    dataset : Dataset
        Samples of everybody, so that all classes there are occur.
    scheme : str
        As `parse_clusters` reads it.
    cluster : int
        From 0; the first one sees the samples as they are.

    Raises
    ------
    InvalidPartition
        If the inputs are not square images in memory, or the targets are no classes, or too few.
    """
    kind, clusters = parse_clusters(scheme)
    if kind == "rotation":
        turns = 4 // clusters * cluster
        return replace(
            dataset,
            train_inputs=_turned(dataset.train_inputs, turns),
            test_inputs=_turned(dataset.test_inputs, turns),
        )
    shifted = _Shift(dataset.train_targets, clusters, cluster)
    return replace(
        dataset, train_targets=shifted(dataset.train_targets), test_targets=shifted(dataset.test_targets)
    )


def _turned(images: Any, turns: int) -> Tensor:  # noqa: ANN401 - whatever a task has for inputs
    """Images ``[n, S²]`` or ``[n, ..., S, S]``, by quarter turns anticlockwise."""
    shape = tuple(getattr(images, "shape", ()))
    flat = len(shape) == 2
    side = math.isqrt(shape[1]) if flat else shape[-1] if shape else 0
    square = side**2 == shape[1] if flat else len(shape) > 2 and shape[-2] == side
    if not hasattr(images, "rot90") or side < 2 or not square:
        raise InvalidPartition(
            "clusters 'rotation' turn square images",
            expected="inputs [n, S·S] or [n, ..., S, S] in memory",
            got=list(shape) if shape else type(images).__name__,
            remedy="Use clusters of labels:K.",
        )
    squares: Tensor = images.reshape(shape[0], side, side) if flat else images
    return squares.rot90(turns, dims=(-2, -1)).reshape(shape).contiguous()


class _Shift:
    """The labels of one cluster."""

    def __init__(self, targets: Any, clusters: int, cluster: int) -> None:  # noqa: ANN401
        is_tensor = hasattr(targets, "is_floating_point") and targets.dim() == 1
        self._signs = is_tensor and targets.is_floating_point() and bool((targets.abs() == 1).all())
        classes = is_tensor and not targets.is_floating_point() and int(targets.max()) + 1
        self._classes = 2 if self._signs else int(classes)
        if clusters > self._classes:
            raise InvalidPartition(
                "clusters 'labels' shift classes",
                expected=f"targets [n] of at least {clusters} classes, or two clusters of −1 and 1",
                got=f"{self._classes} classes" if self._classes else type(targets).__name__,
            )
        self._by = cluster * self._classes // clusters

    def __call__(self, targets: Tensor) -> Tensor:
        if self._signs:
            return -targets if self._by else targets
        return (targets + self._by) % self._classes
