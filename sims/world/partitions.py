"""Divisions of samples among nodes: by scheme, by owner, by a file, or by the user's own function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gossipfl.tasks import Dataset, partition
from gossipfl.tasks.samples import Tree, class_labels, count, describe
from sims.errors import InvalidScenario
from sims.scenario import Scenario
from sims.scenario.task import PartitionFile
from topology.arrays import load_npy
from topology.parsing import json_of
from topology.plugins import is_object_name, load_object

__all__ = ["parts_of"]

Parts = list[NDArray[np.int64]]

_LARGEST_FILE = 2**30  # bytes


def parts_of(scenario: Scenario, dataset: Dataset, *, kept: NDArray[np.int64] | None = None) -> Parts:
    """Numbers of each node's training samples, int64; in the order in which the node has them.

    Parameters
    ----------
    scenario : Scenario
    dataset : Dataset
    kept : ndarray, optional
        Where others are held out, the numbers that these samples have among all, ascending: files go by those.

    Raises
    ------
    InvalidScenario, InvalidPartition
        If the samples cannot be divided as asked.
    """
    nodes, section = scenario.population.nodes, scenario.task
    if isinstance(section.partition, PartitionFile):
        if kept is None:
            return _of_file(section.partition, dataset.samples, nodes=nodes)
        everything = dataset.samples + count(dataset.test_inputs)
        parts = _of_file(section.partition, everything, nodes=nodes)
        return [_among(kept, part, node) for node, part in enumerate(parts)]
    if section.partition == "contiguous":
        _require_enough(dataset.samples, nodes)
        return np.array_split(np.arange(dataset.samples), nodes)
    if section.partition == "natural":
        if dataset.owners is None:
            raise InvalidScenario(
                "task.partition: the data do not say who owns each sample",
                expected="a task whose Dataset has owners, such as next-word",
                got="natural",
            )
        return _by_owner(dataset.owners.numpy(), nodes)
    targets = dataset.train_targets
    if is_object_name(section.partition):
        return _by_function(scenario, section.partition, targets)
    labels = _labels(targets, section.partition)
    return partition(labels, nodes, section.partition, seed=scenario.seed)


def _among(kept: NDArray[np.int64], part: NDArray[np.int64], node: int) -> NDArray[np.int64]:
    """Places of a node's samples among those kept."""
    places = np.searchsorted(kept, part).clip(max=len(kept) - 1)
    found: NDArray[np.int64] = places[kept[places] == part]
    if not len(found):
        raise InvalidScenario(
            f"task.partition: all samples of node {node} are held out",
            expected="at least one to train on",
            got=f"{len(part)} of its samples among those held out",
            remedy="Lower evaluate.validation, or take another seed.",
        )
    return found


def _require_enough(samples: int, nodes: int) -> None:
    if nodes > samples:
        raise InvalidScenario(
            "task.partition: there are fewer samples than nodes",
            expected=f"at most {samples} nodes",
            got=nodes,
            remedy="Set task.samples_per_node to draw samples with replacement.",
        )


def _by_owner(owners: NDArray[np.int64], nodes: int) -> Parts:
    """Samples of each owner, one node each."""
    counts = np.bincount(owners)
    if len(counts) != nodes:
        raise InvalidScenario(
            "population.nodes: each owner of samples is a node",
            expected=f"{len(counts)} nodes",
            got=nodes,
        )
    return np.split(np.argsort(owners, kind="stable"), counts.cumsum()[:-1])


def _labels(targets: Tree, scheme: str) -> NDArray[np.int64]:
    classes = class_labels(targets)
    if classes is not None:
        return classes
    if scheme.partition(":")[0] in ("shards", "dirichlet"):
        raise InvalidScenario(
            f"task.partition: {scheme!r} divides samples by class, and the task's targets are not classes",
            expected="iid, quantity:SIGMA, contiguous or natural",
            got=f"targets {describe(targets)}",
        )
    return np.zeros(count(targets), dtype=np.int64)


# The user's own


def _by_function(scenario: Scenario, name: str, targets: Tree) -> Parts:
    function = load_object(
        name,
        kind="function",
        unknown=InvalidScenario,
        unusable=InvalidScenario,
        directory=scenario.modules,
    )
    nodes = scenario.population.nodes
    try:
        found = function(targets, nodes, scenario.seed)
    except Exception as error:
        raise InvalidScenario(
            f"task.partition: {name} failed",
            expected="partition(targets, nodes, seed) -> one list of sample numbers for each node",
            got=f"{type(error).__name__}: {error}",
        ) from error
    return _checked(found, count(targets), nodes=nodes, source=name)


def _of_file(section: PartitionFile, samples: int, *, nodes: int) -> Parts:
    path = section.file
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InvalidScenario(f"{path} is too large", expected="at most 1 GiB")
        if path.suffix == ".json":
            found = json_of(path.read_text(encoding="utf-8"))
            return _checked(found, samples, nodes=nodes, source=str(path))
        owners = _owners(path, section.column)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        if isinstance(error, InvalidScenario):
            raise
        raise InvalidScenario(
            f"task.partition: {path} cannot be read",
            expected="a .json of lists of sample numbers, or a .csv or .npy with the owner of each sample",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if len(owners) != samples:
        raise InvalidScenario(
            f"task.partition: {path} names the owner of every training sample, in order",
            expected=f"{samples} owners",
            got=len(owners),
        )
    _, numbers = np.unique(owners, return_inverse=True)
    return _by_owner(numbers.reshape(-1).astype(np.int64), nodes)


def _owners(path: Path, column: str | None) -> NDArray[Any]:
    if path.suffix == ".npy":
        owners = load_npy(path)
        if owners.ndim != 1:
            raise InvalidScenario(
                f"task.partition: {path} holds no list of owners", expected="one dimension", got=owners.ndim
            )
        return np.asarray(owners)
    table = pl.read_csv(path)
    name = column or table.columns[0]
    if name not in table.columns or (column is None and len(table.columns) > 1):
        raise InvalidScenario(
            f"task.partition: nothing says which column of {path} holds the owners",
            expected=f"column = one of {', '.join(table.columns)}",
            got=repr(column),
        )
    if table[name].null_count():
        raise InvalidScenario(f"task.partition: {path} has samples without an owner in column {name!r}")
    return table[name].to_numpy()


def _checked(found: Any, samples: int, *, nodes: int, source: str) -> Parts:  # noqa: ANN401 - of an author
    """One list of different samples for each node; samples may stay out, and several nodes may have one."""
    if not isinstance(found, Sequence | np.ndarray) or isinstance(found, str) or len(found) != nodes:
        got = f"{len(found)} lists" if isinstance(found, Sequence | np.ndarray) else type(found).__name__
        raise InvalidScenario(
            f"task.partition: {source} divides among another number of nodes",
            expected=f"{nodes} lists of sample numbers",
            got=got,
        )
    parts = []
    for node, own in enumerate(found):
        try:
            part = np.asarray(own)
        except ValueError:
            part = np.zeros((0, 0))
        is_list = part.ndim == 1 and len(part) > 0 and part.dtype.kind in "iu"
        if not is_list or part.min() < 0 or part.max() >= samples or len(np.unique(part)) < len(part):
            raise InvalidScenario(
                f"task.partition: {source} gives node {node} no list of samples",
                expected=f"at least one number from 0 to {samples - 1}, each once",
                got=str(own)[:100],
            )
        parts.append(part.astype(np.int64))
    return parts
