"""A task's samples as arrays, which processes of one machine read in shared memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.tasks import Dataset, find_task
from gossipfl.tasks.samples import Tree, in_memory, map_leaves
from sims.scenario import Scenario

__all__ = ["Arrays", "arrays_of", "dataset_of", "samples_of"]

Arrays: TypeAlias = dict[str, Any]
"""Field of a `Dataset` to its tree, with arrays in place of tensors."""


def arrays_of(data: Dataset) -> Arrays | None:
    """Samples as arrays; None if they are on disk, may grow, or are of a dtype that numpy lacks."""
    trees = _trees(data)
    if type(data) is not Dataset or not all(in_memory(tree) for tree in trees.values()):
        return None
    try:
        return {
            name: map_leaves(lambda leaf: leaf.detach().cpu().numpy(), tree) for name, tree in trees.items()
        }
    except TypeError:  # as bfloat16
        return None


def samples_of(scenario: Scenario) -> Arrays | None:
    """Samples of a scenario's task, for machines elsewhere; None where each has to read them itself."""
    section = scenario.task
    if section.nodes:
        return None
    with suppress(Exception):  # whatever an author's code raises, the run itself will, and will say so
        return arrays_of(find_task(section.name, section.options, directory=scenario.modules).dataset())
    return None


def dataset_of(arrays: Mapping[str, Any]) -> Dataset:
    """The samples again, without a copy."""
    return Dataset(**{name: map_leaves(_tensor, tree) for name, tree in arrays.items()})


def _trees(data: Dataset) -> dict[str, Tree]:
    given = {field.name: getattr(data, field.name) for field in fields(data)}
    return {name: tree for name, tree in given.items() if tree is not None}


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shared memory cannot be written to, and nobody does
        return torch.from_numpy(array)
