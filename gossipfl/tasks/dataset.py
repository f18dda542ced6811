"""A peer's own samples, to train and to evaluate on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from gossipfl.codecs import is_finite
from gossipfl.errors import InvalidTask
from gossipfl.tasks.samples import Tree, Weighted, count, describe, leaves, map_leaves, named_leaves
from gossipfl.tasks.stored import MapStyle, Reader, StoredSamples

__all__ = ["Dataset"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples to train on, and others to evaluate on.

    Parameters
    ----------
    train_inputs, train_targets, test_inputs, test_targets : Tensor, or tuple or dict of Tensor
        Shapes ``[n, ...]``, one sample a first index. A module is called with one tensor as its argument, with a
        tuple as its arguments, with a dictionary as its keyword arguments. Targets go to the loss and the metrics
        as they are; `Weighted` targets give every sample a weight in the loss.
    owners : Tensor, optional
        Whose each training sample is, shape ``[n]``, int64, numbered from 0, where the data say so: by these a
        simulation divides them, with ``partition = "natural"``.
    test_owners : Tensor, optional
        Whose each test sample is, shape ``[m]``, likewise: a simulation with ``evaluate.own`` measures each node
        on its own.

    Raises
    ------
    InvalidTask
        If inputs and targets differ in number, there is nothing to train or evaluate on, a tensor is sparse, or
        a number among them is NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> data = Dataset(
    ...     train_inputs=torch.eye(4), train_targets=torch.tensor([0, 1, 1, 0]),
    ...     test_inputs=torch.eye(4)[:2], test_targets=torch.tensor([0, 1]))
    >>> data.train_targets.sum()
    tensor(2)
    """

    train_inputs: Tree
    train_targets: Tree
    test_inputs: Tree
    test_targets: Tree
    owners: Tensor | None = None
    test_owners: Tensor | None = None

    def __post_init__(self) -> None:
        for part, inputs, targets in (
            ("train", self.train_inputs, self.train_targets),
            ("test", self.test_inputs, self.test_targets),
        ):
            found = [
                (f"{part} {what}{path}", leaf)
                for what, tree in (("inputs", inputs), ("targets", targets))
                for path, leaf in named_leaves(tree)
            ]
            if not found or not all(isinstance(leaf, Tensor | StoredSamples) for _, leaf in found):
                raise InvalidTask(
                    f"{part} inputs and targets must be torch tensors",
                    expected="tensors, or tuples or dictionaries of tensors",
                    got=" and ".join(type(leaf).__name__ for _, leaf in found) or "none",
                    remedy="Convert them with torch.as_tensor, and sequences with gossipfl.tasks.padded.",
                )
            in_memory = [(what, leaf) for what, leaf in found if isinstance(leaf, Tensor)]
            for what, leaf in in_memory:
                _require_constant(leaf, what)
            for what, leaf in in_memory:
                _require_dense(leaf, what)
            counts = [len(leaf) for _, leaf in found]
            if len(set(counts)) > 1 or 0 in counts:
                raise InvalidTask(
                    f"{part} inputs and targets do not match",
                    expected="as many inputs as targets, and at least one",
                    got=" and ".join(map(str, counts)),
                )
            for what, leaf in in_memory:
                _require_finite(leaf, what)
            if isinstance(targets, Weighted):
                _require_weights(targets.weights, part)
        if self.owners is not None:
            _require_owners(self.owners, self.samples, "training")
        if self.test_owners is not None:
            _require_owners(self.test_owners, count(self.test_targets), "test")

    @property
    def is_measurable(self) -> bool:
        """Whether there is anything to evaluate a model on; where data grow, there may be nothing yet."""
        return True

    @classmethod
    def stored(
        cls,
        train: MapStyle,
        test: MapStyle,
        *,
        targets: str | None = None,
        collate: Callable[[list[tuple[Any, Any]]], tuple[Tree, Tree]] | None = None,
    ) -> Dataset:
        """Data sets that are read sample by sample: of ``torch.utils.data``, or Hugging Face's from disk.

        Training samples are read when a batch needs them; test samples are read once, into memory.

        Parameters
        ----------
        train, test : MapStyle
            Of pairs (inputs, targets), or of dictionaries.
        targets : str, optional
            Which entry of a dictionary is the targets; the others are keyword arguments of the module.
        collate : callable, optional
            Makes inputs and targets ``[S, ...]`` from a list of S pairs. Batches may differ in shape.

        Raises
        ------
        InvalidTask
            If there are no samples, or those to evaluate on cannot be put together.
        """
        for samples in (train, test):
            if not hasattr(samples, "__len__") or not hasattr(samples, "__getitem__"):
                raise InvalidTask(
                    "a stored data set cannot be read by number",
                    expected="a map-style data set: len(samples) and samples[i]",
                    got=type(samples).__name__,
                    remedy="Make a list of what is iterated, if it fits into memory.",
                )
        if not len(train) or not len(test):
            raise InvalidTask(
                "a stored data set is empty",
                expected="at least one sample",
                got=f"{len(train)} and {len(test)}",
            )
        reader = Reader(train, targets, collate)
        everything = np.arange(len(train), dtype=np.int64)
        test_inputs, test_targets = Reader(test, targets, collate).batch(np.arange(len(test), dtype=np.int64))
        return cls(
            train_inputs=StoredSamples(reader, 0, everything),
            train_targets=StoredSamples(reader, 1, everything),
            test_inputs=test_inputs,
            test_targets=test_targets,
        )

    def fingerprint(self, samples: int | None = None) -> str:
        """Fingerprint of the first training samples, 32 hexadecimal digits (XXH3-128).

        For samples on disk only their number is given.

        Parameters
        ----------
        samples : int, optional
            Number of samples; by default all.
        """
        chosen = slice(self.samples if samples is None else samples)
        digest = xxhash.xxh3_128(str(chosen.stop).encode())
        for leaf in leaves((self.train_inputs, self.train_targets)):
            if isinstance(leaf, Tensor):
                part = leaf[chosen].contiguous()
                digest.update(f"{tuple(part.shape)} {part.dtype}".encode())
                digest.update(part.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def first(self, samples: int) -> Dataset:
        """Only the first training samples, and the same to evaluate on."""

        def part(leaf: Any) -> Any:  # noqa: ANN401 - a tensor, or samples on disk
            if isinstance(leaf, StoredSamples):
                return leaf.subset(np.arange(samples, dtype=np.int64))
            return leaf[:samples]

        inputs, targets = (map_leaves(part, tree) for tree in (self.train_inputs, self.train_targets))
        owners = None if self.owners is None else self.owners[:samples]
        return replace(self, train_inputs=inputs, train_targets=targets, owners=owners)

    @property
    def samples(self) -> int:
        """Number of samples to train on."""
        return count(self.train_targets)


def _require_owners(owners: Tensor, samples: int, part: str) -> None:
    is_tensor = isinstance(owners, Tensor)
    if is_tensor and owners.shape == (samples,) and owners.dtype == torch.int64 and bool((owners >= 0).all()):
        return
    raise InvalidTask(
        f"the owners of the {part} samples cannot be used",
        expected=f"a tensor: one number of 0 or more for each of {samples} samples, int64",
        got=describe(owners),
        remedy=None if is_tensor else "Make one with torch.as_tensor.",
    )


def _require_constant(leaf: Tensor, what: str) -> None:
    if leaf.requires_grad:
        raise InvalidTask(
            f"the {what} require gradients",
            expected="plain numbers: samples are not trained",
            remedy="Call .detach() on them in the data.",
        )
    if leaf.device.type != "cpu":
        raise InvalidTask(
            f"the {what} are not in the memory of the CPU",
            got=f"device {leaf.device}",
            remedy="Call .cpu() on them in the data; the runtime moves what it needs.",
        )


def _require_dense(leaf: Tensor, what: str) -> None:
    if leaf.layout is not torch.strided:
        raise InvalidTask(
            f"the {what} are sparse",
            expected="dense tensors",
            got=str(leaf.layout),
            remedy="Call .to_dense() on them in the data.",
        )
    if leaf.dim() == 0:
        raise InvalidTask(f"the {what} must have one sample a first index", got="a single number")


def _require_finite(samples: Tensor, what: str) -> None:
    """Require that a pool holds numbers only: one NaN in a batch makes a whole model NaN."""
    if not samples.is_floating_point() or is_finite(samples):
        return
    wrong = ~samples.reshape(len(samples), -1).isfinite()
    spoilt = wrong.any(dim=1).nonzero().flatten()
    raise InvalidTask(
        f"the {what} hold NaN or infinite numbers",
        got=f"{int(wrong.sum())} in {len(spoilt)} of {len(samples)} samples, first in sample {int(spoilt[0])}",
        remedy="Fill in what is missing, or leave these samples out.",
    )


def _require_weights(weights: Tensor, part: str) -> None:
    if weights.dim() == 1 and not weights.is_complex() and bool((weights >= 0).all()) and bool(weights.any()):
        return
    raise InvalidTask(
        f"the weights of the {part} targets cannot be used",
        expected="one number a sample, none negative and not all 0",
        got=f"shape {list(weights.shape)}, {weights.min().item():g} … {weights.max().item():g}",
    )
