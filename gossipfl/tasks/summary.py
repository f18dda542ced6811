"""Summary of a peer's data, for an operator to check before the peer starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.samples import class_labels, count, describe, leaves

__all__ = ["DataSummary", "summarise"]

_SCALES_APART = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSummary:
    """Contents of a data set.

    Parameters
    ----------
    train_samples, test_samples : int
    inputs, targets : str
        Shapes and dtypes.
    classes : dict of int to int, optional
        Training samples of each class; None if targets are not classes.
    low, high : float, optional
        Smallest and largest training input; None if none is a real number.
    warnings : tuple of str
    """

    train_samples: int
    test_samples: int
    inputs: str
    targets: str
    classes: dict[int, int] | None
    low: float | None
    high: float | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Sentences for people, warnings last."""
        said = [f"{self.train_samples:,} samples to train on, {self.test_samples:,} to evaluate on."]
        if self.classes is not None:
            fewest = min(self.classes.values())
            said.append(f"{len(self.classes)} classes, the rarest with {fewest:,} samples.")
        span = "" if self.low is None else f", from {self.low:g} to {self.high:g}"
        said.append(f"Inputs {self.inputs}{span}; targets {self.targets}.")
        return said + [f"Warning: {warning}" for warning in self.warnings]


def summarise(data: Dataset) -> DataSummary:
    """Summarise a peer's own data.

    It warns if columns of the inputs differ a thousandfold in scale, and if there is only one class.
    """
    real = [
        leaf for leaf in leaves(data.train_inputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()
    ]
    labels = class_labels(data.train_targets)
    classes = None
    if labels is not None:
        found, numbers = np.unique(labels, return_counts=True)
        classes = dict(zip(found.tolist(), numbers.tolist(), strict=True))
    warnings = [warning for leaf in real for warning in _scale_warnings(leaf)]
    if classes is not None and len(classes) == 1:
        warnings.append(f"all samples are of class {next(iter(classes))}.")
    return DataSummary(
        train_samples=data.samples,
        test_samples=count(data.test_targets),
        inputs=describe(data.train_inputs),
        targets=describe(data.train_targets),
        classes=classes,
        low=min((float(leaf.min()) for leaf in real), default=None),
        high=max((float(leaf.max()) for leaf in real), default=None),
        warnings=tuple(warnings),
    )


def _scale_warnings(inputs: Tensor) -> list[str]:
    """Problems for training in the columns of a table of numbers, ``[n, k]``."""
    if inputs.dim() != 2 or inputs.shape[1] < 2 or len(inputs) < 2:
        return []
    spread = inputs.double().std(dim=0)
    varying = spread[spread > 0]
    if len(varying) > 1 and float(varying.max() / varying.min()) >= _SCALES_APART:
        widest = int(spread.argmax())
        narrowest = int(torch.where(spread > 0, spread, torch.inf).argmin())
        return [
            f"columns of the inputs differ a thousandfold in scale: column {widest} has deviation "
            f"{spread[widest]:.3g}, column {narrowest} {spread[narrowest]:.3g}. "
            "Training is slow or diverges then; standardise them in the data."
        ]
    return []
