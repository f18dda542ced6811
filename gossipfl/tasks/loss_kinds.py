"""Losses of torch known by name, with the form of their targets and their default metrics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from gossipfl.tasks.metrics import (
    Metric,
    accuracy,
    binary_accuracy,
    class_accuracy,
    mean_absolute_error,
    r_squared,
    sign_accuracy,
)

__all__ = ["CLASS_LOSSES", "SAME_SHAPE_LOSSES", "LossKind", "default_metrics", "loss_kind"]

_MODULES: Mapping[type[nn.Module], str] = {
    nn.CrossEntropyLoss: "cross_entropy",
    nn.NLLLoss: "nll_loss",
    nn.MultiMarginLoss: "multi_margin_loss",
    nn.BCEWithLogitsLoss: "binary_cross_entropy_with_logits",
    nn.BCELoss: "binary_cross_entropy",
    nn.MultiLabelSoftMarginLoss: "multilabel_soft_margin_loss",
    nn.SoftMarginLoss: "soft_margin_loss",
    nn.HingeEmbeddingLoss: "hinge_embedding_loss",
    nn.MSELoss: "mse_loss",
    nn.L1Loss: "l1_loss",
    nn.SmoothL1Loss: "smooth_l1_loss",
    nn.HuberLoss: "huber_loss",
    nn.KLDivLoss: "kl_div",
    nn.PoissonNLLLoss: "poisson_nll_loss",
}
#: Their targets are classes, ``[n, ...]`` of outputs ``[n, C, ...]``.
CLASS_LOSSES = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss"})
#: They would broadcast outputs and targets of different shapes, or refuse them less clearly.
SAME_SHAPE_LOSSES = frozenset(_MODULES.values()) - CLASS_LOSSES
_OF_REGRESSION: Mapping[str, Metric] = {"r2": r_squared, "mae": mean_absolute_error}
_METRICS: Mapping[str | None, Mapping[str, Metric]] = {
    "multi_margin_loss": {"accuracy": class_accuracy},
    "kl_div": {"accuracy": class_accuracy},
    "binary_cross_entropy": {"accuracy": partial(binary_accuracy, threshold=0.5)},
    "binary_cross_entropy_with_logits": {"accuracy": binary_accuracy},
    "multilabel_soft_margin_loss": {"accuracy": binary_accuracy},
    "soft_margin_loss": {"accuracy": sign_accuracy},
    "mse_loss": _OF_REGRESSION,
    "l1_loss": _OF_REGRESSION,
    "smooth_l1_loss": _OF_REGRESSION,
    "huber_loss": _OF_REGRESSION,
}
_FUNCTIONS = {getattr(nn.functional, name): name for name in _MODULES.values()}


@dataclass(frozen=True, slots=True)
class LossKind:
    """Which of torch's losses a task has.

    Parameters
    ----------
    name : str, optional
        Of its function in ``torch.nn.functional``; None for a loss that is not torch's.
    settings : mapping
        Keyword arguments that were set.
    """

    name: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_classes(self) -> bool:
        """Whether targets are classes."""
        return self.name in CLASS_LOSSES

    @property
    def ignore_index(self) -> int | None:
        """Class whose targets are ignored; None if there is none."""
        return (
            int(self.settings.get("ignore_index", -100))
            if self.name in {"cross_entropy", "nll_loss"}
            else None
        )


def loss_kind(loss: Callable[..., Any]) -> LossKind:
    """Recognise a loss of torch, as a function, a partial of one, or a module."""
    if isinstance(loss, functools.partial):
        inner = loss_kind(loss.func)
        return LossKind(inner.name, {**inner.settings, **loss.keywords}) if not loss.args else LossKind()
    if isinstance(loss, nn.Module):
        return LossKind(_MODULES.get(type(loss)), vars(loss))
    try:
        return LossKind(_FUNCTIONS.get(loss))
    except TypeError:  # callable objects need not be hashable
        return LossKind()


def _rate_error(outputs: Any, targets: Any, *, logarithmic: bool) -> Tensor:  # noqa: ANN401
    """Mean absolute error of rates, whose logarithms the outputs may be."""
    return mean_absolute_error(outputs.exp() if logarithmic else outputs, targets)


def default_metrics(loss: Callable[..., Any]) -> dict[str, Metric]:
    """Metrics that fit a loss, the most important first.

    Accuracy of classes, per position where targets have positions; of each label where there are several; of
    signs for margins; R² and the mean absolute error of regressions, of rates the latter only. A loss that is not
    torch's is treated as one of classes.
    """
    kind = loss_kind(loss)
    if kind.ignore_index is not None:
        return {"accuracy": partial(class_accuracy, ignore_index=kind.ignore_index)}
    if kind.name == "poisson_nll_loss":
        return {"mae": partial(_rate_error, logarithmic=bool(kind.settings.get("log_input", True)))}
    return dict(_METRICS.get(kind.name, {"accuracy": accuracy}))
