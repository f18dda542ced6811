"""Fields of tasks, each required to be what it is declared to be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from torch import nn

from gossipfl.errors import InvalidTask
from gossipfl.layout import SharePolicy
from topology.spelling import did_you_mean

if TYPE_CHECKING:
    from gossipfl.tasks.task import Task

__all__ = ["require_field_names", "require_fields"]


def require_field_names(declared: type[Task], given: Mapping[str, Any]) -> None:
    """Require that what is given for a task are its fields, and that none is lacking.

    Raises
    ------
    InvalidTask
    """
    fields = [each for each in dataclasses.fields(declared) if each.init]
    names = [each.name for each in fields]
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise InvalidTask(
            f"a task has no {unknown[0]!r}",
            expected=", ".join(names),
            remedy=did_you_mean(unknown[0], names),
        )
    missing = dataclasses.MISSING
    needed = [each.name for each in fields if each.default is missing and each.default_factory is missing]
    if lacking := [name for name in needed if name not in given]:
        raise InvalidTask(
            f"the task has no {' and no '.join(lacking)}",
            expected='Task(name="a name", model=…, data=…): model() -> torch.nn.Module, data() -> Dataset',
            got=", ".join(given),
        )


def require_fields(task: Task) -> None:
    """Require that every field of a task is what `Task` says it is; what functions return is not looked at.

    Raises
    ------
    InvalidTask
    """
    _require(isinstance(task.name, str) and bool(task.name), "the task has no name", "a string", task.name)
    if isinstance(task.model, nn.Module):
        raise InvalidTask(
            f"the model of task {task.name!r} is a module",
            expected="a function that makes a new module each time",
            remedy="Give its class, a function that builds it, or lambda: copy.deepcopy(module).",
        )
    for field, signature in (
        ("model", "model() -> torch.nn.Module"),
        ("data", "data() -> Dataset"),
        ("loss", "loss(outputs, targets) -> scalar"),
        ("transform", "transform(inputs, targets, generator) -> (inputs, targets)"),
    ):
        value = getattr(task, field)
        _require(
            callable(value) or (value is None and field == "transform"),
            f"the {field} of task {task.name!r} cannot be called",
            f"a function, {signature}",
            value,
        )
    if isinstance(task.loss, type):
        raise InvalidTask(
            f"the loss of task {task.name!r} is a class",
            expected="a function, or an instance",
            got=task.loss.__name__,
            remedy=f"Write {task.loss.__name__}().",
        )
    _require_metrics(task)
    _require(
        isinstance(task.share, SharePolicy),
        f"task {task.name!r} shares otherwise",
        "a SharePolicy",
        task.share,
    )
    _require(
        task.start in ("common", "independent"),
        f"task {task.name!r} cannot start so",
        "'common' or 'independent'",
        task.start,
    )
    seed: Any = task.seed
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**63:
        raise InvalidTask(
            f"the seed of task {task.name!r} is out of range", expected="0 … 2**63 − 1", got=seed
        )
    if isinstance(task.loss, nn.Module) and any(each.requires_grad for each in task.loss.parameters()):
        raise InvalidTask(
            f"the loss of task {task.name!r} has parameters, which nobody would train",
            expected="a loss whose parameters are part of the model, or frozen",
            got=", ".join(name for name, each in task.loss.named_parameters() if each.requires_grad),
            remedy="Move them into the model, which may return them beside its outputs.",
        )
    period: Any = task.refresh_seconds
    if period is not None and not (isinstance(period, Real) and 0 < float(period) < math.inf):
        raise InvalidTask(
            f"the data of task {task.name!r} cannot be read again so often",
            expected="a positive, finite number of seconds",
            got=period,
        )


def _require_metrics(task: Task) -> None:
    _require(
        isinstance(task.metrics, Mapping),
        f"the metrics of task {task.name!r} have no names",
        "a mapping of names to functions",
        task.metrics,
    )
    for name, metric in task.metrics.items():
        if name == "loss":
            raise InvalidTask(
                f"task {task.name!r} has a metric named 'loss'",
                expected="another name",
                remedy="The loss is always evaluated too.",
            )
        _require(isinstance(name, str), f"a metric of task {task.name!r} has no name", "a string", name)
        _require(
            callable(metric),
            f"the metric {name!r} of task {task.name!r} cannot be called",
            "a function, metric(outputs, targets) -> scalar",
            metric,
        )


def _require(fits: bool, what: str, expected: str, got: object) -> None:  # noqa: FBT001
    if not fits:
        raise InvalidTask(what, expected=expected, got=repr(got))
