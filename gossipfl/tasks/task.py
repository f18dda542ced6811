"""A task: everything the peers of one network must agree on, and where each finds its own data."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gossipfl.codecs import is_finite
from gossipfl.errors import InvalidTask
from gossipfl.rows import Layout, SharePolicy, layout_of, to_row, to_tensors
from gossipfl.tasks.metrics import accuracy
from gossipfl.tasks.recurrent import BatchableRecurrences

__all__ = ["Dataset", "Task"]

Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples to train on, and others to evaluate on.

    Parameters
    ----------
    train_inputs, train_targets, test_inputs, test_targets : Tensor
        Shapes ``[n, ...]``, one sample a first index.

    Raises
    ------
    InvalidTask
        If inputs and targets differ in number, there is nothing to train or evaluate on, or a number among them
        is NaN or infinite.
    """

    train_inputs: Tensor
    train_targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor

    def __post_init__(self) -> None:
        for part, inputs, targets in (
            ("train", self.train_inputs, self.train_targets),
            ("test", self.test_inputs, self.test_targets),
        ):
            if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor):
                raise InvalidTask(
                    f"{part} inputs and targets must be torch tensors",
                    got=f"{type(inputs).__name__} and {type(targets).__name__}",
                    remedy="Convert them with torch.as_tensor.",
                )
            if inputs.dim() == 0 or targets.dim() == 0:
                raise InvalidTask(
                    f"{part} inputs and targets must have one sample a first index", got="a single number"
                )
            if len(inputs) != len(targets) or len(inputs) == 0:
                raise InvalidTask(
                    f"{part} inputs and targets do not match",
                    expected="as many inputs as targets, and at least one",
                    got=f"{len(inputs)} and {len(targets)}",
                )
            _require_finite(inputs, f"{part} inputs")
            _require_finite(targets, f"{part} targets")


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


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a network of peers learns.

    Parameters
    ----------
    name : str
        Shown to people, and part of the fingerprint.
    model : callable
        ``model() -> torch.nn.Module``, a new module each time.
    data : callable
        ``data() -> Dataset``, this peer's own data. Called by the peer that trains and by nobody else.
    loss : callable
        ``loss(outputs, targets) -> scalar``, the mean over a batch. Cross-entropy by default.
    metrics : mapping of str to callable
        Each ``metric(outputs, targets) -> scalar``, evaluated on the test samples. The first one is the one
        shown first.
    share : SharePolicy
        Which parameters leave the peer.
    seed : int
        Seed of the initial row, within 0 … 2**63 − 1.
    start : {'common', 'independent'}
        Whether all peers start from the same initial row. Averages of independently initialised networks are
        no better than chance (McMahan et al. 2017, Fig. 1), so leave it unless that is what you study.

    Raises
    ------
    InvalidTask
        If a field cannot be what it is declared to be.

    Examples
    --------
    >>> import torch
    >>> task = Task(
    ...     name="xor",
    ...     model=lambda: torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)),
    ...     data=lambda: Dataset(
    ...         train_inputs=torch.eye(2), train_targets=torch.tensor([1, 1]),
    ...         test_inputs=torch.ones(1, 2), test_targets=torch.tensor([0])),
    ... )
    >>> task.layout.shared_size
    42
    """

    name: str
    model: Callable[[], nn.Module]
    data: Callable[[], Dataset]
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.cross_entropy
    metrics: Mapping[str, Metric] = field(default_factory=lambda: {"accuracy": accuracy})
    share: SharePolicy = field(default_factory=SharePolicy)
    seed: int = 0
    start: Literal["common", "independent"] = "common"

    def __post_init__(self) -> None:
        if isinstance(self.model, nn.Module):
            raise InvalidTask(
                f"the model of task {self.name!r} is a module",
                expected="a function that makes a new module each time",
                remedy="Put lambda: before it, or give its class.",
            )
        if self.start not in ("common", "independent"):
            raise InvalidTask(
                f"task {self.name!r} cannot start so",
                expected="'common' or 'independent'",
                got=repr(self.start),
            )
        if not 0 <= self.seed < 2**63:
            raise InvalidTask(
                f"the seed of task {self.name!r} is out of range", expected="0 … 2**63 − 1", got=self.seed
            )
        if "loss" in self.metrics:
            raise InvalidTask(
                f"task {self.name!r} has a metric named 'loss'",
                expected="another name",
                remedy="The loss is always evaluated too.",
            )

    def build_module(self) -> nn.Module:
        """Make a new module, leaving torch's global random generator as it was.

        Raises
        ------
        InvalidTask
            If the factory fails, or does not return a module.
        """
        try:
            with torch.random.fork_rng(devices=[]):  # initialising a module draws from the global generator
                module = self.model()
        except Exception as error:
            raise InvalidTask(
                f"the model factory of task {self.name!r} failed", got=f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(module, nn.Module):
            raise InvalidTask(
                f"the model factory of task {self.name!r} returned no module",
                expected="a torch.nn.Module",
                got=type(module).__name__,
            )
        return module

    @cached_property
    def layout(self) -> Layout:
        """How the model lies in a row."""
        return layout_of(self.build_module(), self.share)

    def initial_row(self, node: int = 0) -> Tensor:
        """Model before any training.

        Parameters
        ----------
        node : int
            Number of the node; matters for independent starts only.

        Returns
        -------
        Tensor
            Shape ``[D]``, float32.
        """
        seed = (
            self.seed
            if self.start == "common"
            else int.from_bytes(hashlib.sha256(f"{self.seed}/{node}".encode()).digest()[:7])
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return to_row(self.build_module(), self.layout)

    @cached_property
    def fingerprint(self) -> bytes:
        """What two peers must have in common to learn together: 32 bytes (SHA-256).

        Covers name, shared layout, loss, metrics and the initial row's seed; no data.
        """
        agreed = {
            "name": self.name,
            "layout": self.layout.digest.hex(),
            "loss": _name_of(self.loss),
            "metrics": sorted(self.metrics),
            "start": [self.start, self.seed],
        }
        return hashlib.sha256(json.dumps(agreed, sort_keys=True).encode()).digest()

    @cached_property
    def _evaluation_module(self) -> nn.Module:
        return self.build_module().eval()

    def evaluate(self, rows: Tensor, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Evaluate models on samples.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, D]``, float32.
        inputs, targets : Tensor
            Shape ``[S, ...]``, the same samples for every row.

        Returns
        -------
        dict of str to Tensor
            ``"loss"`` and each metric, shape ``[B]``.

        Raises
        ------
        IncompatibleModel
            If the rows have another width than the layout.
        """
        module, layout = self._evaluation_module, self.layout

        def measure(row: Tensor) -> dict[str, Tensor]:
            outputs = functional_call(module, to_tensors(row.clone(), layout), (inputs,))
            measured = {name: metric(outputs, targets) for name, metric in self.metrics.items()}
            return {
                name: torch.as_tensor(value)
                for name, value in {"loss": self.loss(outputs, targets), **measured}.items()
            }

        with torch.no_grad():
            if len(rows) > 1:
                try:
                    with BatchableRecurrences():
                        return vmap(measure)(rows)
                except RuntimeError:  # an operator or metric that cannot be batched over parameters
                    pass
            each = [measure(row) for row in rows]
        return {name: torch.stack([one[name] for one in each]) for name in each[0]}


def _name_of(function: Callable[..., object]) -> str:
    """Name a function the same in every process, with the plain settings of partials and callable objects."""
    if isinstance(function, functools.partial):
        settings = {**{str(place): value for place, value in enumerate(function.args)}, **function.keywords}
        return _name_of(function.func) + _plain(settings)
    if hasattr(function, "__qualname__"):
        return f"{function.__module__}.{function.__qualname__}"
    kind = type(function)
    return f"{kind.__module__}.{kind.__qualname__}" + _plain(getattr(function, "__dict__", {}))


def _plain(settings: Mapping[str, object]) -> str:
    kept = {key: value for key, value in settings.items() if isinstance(value, str | int | float | None)}
    return json.dumps(kept, sort_keys=True)
