"""A task: everything the peers of one network must agree on, and the source of each one's data."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from gossipfl.errors import InvalidTask
from gossipfl.layout import Layout, SharePolicy, layout_of
from gossipfl.rows import to_row
from gossipfl.tasks.agreed import earlier_fingerprints, task_fingerprint
from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.evaluation import Evaluator
from gossipfl.tasks.factory import made, require_common_start
from gossipfl.tasks.failures import failures_named
from gossipfl.tasks.fields import require_field_names, require_fields
from gossipfl.tasks.huggingface import AdapterAveraging, LogitsLoss, adapted, head_of, logits_metrics
from gossipfl.tasks.loss_kinds import default_metrics
from gossipfl.tasks.metrics import Metric
from gossipfl.tasks.objective import Objective
from gossipfl.tasks.own_tensors import with_parameters_of
from gossipfl.tasks.pretrained import Pretrained, PretrainedHead
from gossipfl.tasks.samples import Tree, placed

__all__ = ["Task"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The learning task of a network of peers.

    Parameters
    ----------
    name : str
        Shown to people, and part of the fingerprint.
    model : callable
        ``model() -> torch.nn.Module``, a new module each time, with the same values from the same seed. Torch's,
        Python's and NumPy's global generators are seeded while it is called.
    data : callable
        ``data() -> Dataset``, this peer's own data. Called only by the peer that trains.
    loss : callable
        ``loss(outputs, targets) -> scalar``, the mean over a batch. Cross-entropy by default.
    metrics : mapping of str to callable, optional
        Each ``metric(outputs, targets) -> scalar``, evaluated on the test samples. The first one is the one
        shown first. By default those that fit the loss (`gossipfl.tasks.loss_kinds.default_metrics`).
    share : SharePolicy
        Which parameters leave the peer.
    transform : callable, optional
        ``transform(inputs, targets, generator) -> (inputs, targets)``, of a batch to train on: augmentation, drawn
        from a ``torch.Generator`` that seed, node and step determine. Simulations are slower with it.
    refresh_seconds : float, optional
        How often a running peer calls ``data`` again, for data that grow: new samples behind those there were.
        By default only once.
    seed : int
        Seed of the initial row, within 0 … 2**63 − 1.
    device : torch.device, optional
        Where models are trained and evaluated, and predict; by default where their rows lie. Rows that are given
        and returned stay where they lie.
    statistics : str, optional
        Digest of the common statistics that inputs are scaled by (`gossipfl.statistics.CommonStatistics`); peers
        with others are refused by name.
    constant : frozenset of str
        Names of frozen parameters and buffers that rows leave out: all models have them alike, and modules keep
        them (`gossipfl.training.constants_apart`).
    start : {'common', 'independent'}
        Whether all peers start from the same initial row. Averages of independently initialised networks are
        no better than chance (McMahan et al. 2017, Fig. 1), so leave it unless that is what you study.

    Raises
    ------
    InvalidTask
        If a field is missing, unknown or cannot be what it is declared to be, or ``model`` does not give a new and
        equal module each time.

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
    loss: Callable[[Any, Any], Tensor] = nn.functional.cross_entropy
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    share: SharePolicy = field(default_factory=SharePolicy)
    transform: Callable[[Any, Any, torch.Generator], tuple[Any, Any]] | None = None
    refresh_seconds: float | None = None
    seed: int = 0
    start: Literal["common", "independent"] = "common"
    statistics: str | None = None
    device: torch.device | None = None
    constant: frozenset[str] = frozenset()
    _body: nn.Module | None = field(default=None, init=False, repr=False, compare=False)

    def __new__(cls, **given: Any) -> Self:  # noqa: ANN401 - its fields
        """Name fields that are missing or unknown, which Python would say of `__init__`."""
        if given:  # copies are made without any
            require_field_names(cls, given)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        require_fields(self)
        object.__setattr__(self, "seed", int(self.seed))
        if not self.metrics:
            object.__setattr__(self, "metrics", default_metrics(self.loss))
        require_common_start(self.model, name=self.name, seed=self.seed, share=self.share)

    @classmethod
    def from_transformers(
        cls,
        *,
        name: str,
        model: Callable[[], nn.Module] | str | Path,
        data: Callable[[], Dataset],
        adapters: Any = None,  # noqa: ANN401 - a peft.LoraConfig, where peft is installed
        averaging: AdapterAveraging = "frozen_a",
        head: PretrainedHead | None = None,
        **options: Any,  # noqa: ANN401
    ) -> Task:
        """Make a task from a model of Hugging Face's transformers.

        Parameters
        ----------
        name, data
            As of any task; inputs are a dictionary of the model's arguments (``input_ids``, ``attention_mask``),
            targets the labels, −100 where there is none. Labels of language models are the tokens themselves.
        model : callable, or path of a folder
            ``model() -> PreTrainedModel``, built from a configuration, say with
            ``AutoModelForSequenceClassification.from_config``. Or a folder that ``save_pretrained`` wrote: its
            ``config.json`` and safetensors are read (`gossipfl.tasks.pretrained.Pretrained`).
        adapters : peft.LoraConfig, optional
            Train and share low-rank adapters only; by default everything.
        averaging : {'frozen_a', 'factors'}
            How adapters ``B A`` are averaged: with A common and frozen, so that the average of B gives that of the
            products exactly, or A and B apart, which gives another product; docs/tasks.md has measurements.
        head : {'next', 'classes', 'positions', 'masked', 'images'}, optional
            What a body from a folder is followed by; by default what its configuration says.
        options
            Other fields of `Task`. By default loss and metrics follow from the model's head.

        Raises
        ------
        InvalidTask
            If the model's head is not known, transformers or peft is missing, the adapters fit no layer, files of
            a body cannot be read or do not fit, or A would be frozen at starts that differ.
        """
        if averaging not in ("frozen_a", "factors"):
            raise InvalidTask(
                "adapters cannot be averaged that way",
                expected="'frozen_a' or 'factors'",
                got=repr(averaging),
            )
        if adapters is not None and averaging == "frozen_a" and options.get("start") == "independent":
            raise InvalidTask(
                "adapters with A frozen need a common start",
                expected="start='common'",
                got="start='independent'",
                remedy="Use averaging='factors', or leave start.",
            )
        body = Pretrained(Path(model), head) if isinstance(model, str | Path) else model
        made = body if adapters is None else functools.partial(adapted, body, adapters, averaging)
        task = cls(name=name, model=made, data=data, **{"loss": LogitsLoss("classes"), **options})
        if "loss" not in options:
            found = head_of(task.build_module())
            metrics = options.get("metrics") or logits_metrics(found)
            task = dataclasses.replace(task, loss=LogitsLoss(found), metrics=metrics)
        return task

    def build_module(self) -> nn.Module:
        """Make a new module, the same each time, leaving the global random generators as they were.

        Raises
        ------
        InvalidTask
            If the factory fails, or does not return a module.
        """
        return made(self.model, name=self.name, seed=self.seed)

    def module_on_device(self) -> nn.Module:
        """Make a new module as `build_module` does, on the task's device; with the body of `leaving_out`."""
        module = self.build_module()
        if self.device is not None:
            module = module.to(self.device)
        return module if self._body is None else with_parameters_of(self._body, module, self.constant)

    def leaving_out(self, names: Collection[str], *, body: nn.Module | None = None) -> Task:
        """The same task, whose rows leave out frozen parameters and buffers of these names too.

        Parameters
        ----------
        names : collection of str
        body : torch.nn.Module, optional
            Its frozen parameters of these names become those of all modules that are trained or evaluated.
        """
        lean = copy.copy(self)  # which has been checked
        for cached in ("layout", "_evaluator"):
            vars(lean).pop(cached, None)
        object.__setattr__(lean, "constant", self.constant | frozenset(names))
        object.__setattr__(lean, "_body", body if body is not None else self._body)
        return lean

    def whole_row(self) -> tuple[Tensor, Layout]:
        """A new module's row with nothing left out, and its layout."""
        module = self.build_module()
        layout = layout_of(module, self.share)
        return to_row(module, layout), layout

    def dataset(self) -> Dataset:
        """Read this peer's own data.

        Raises
        ------
        InvalidTask
            If ``data`` fails, or returns something else.
        """
        with failures_named(f"the data of task {self.name!r} could not be read"):
            data = self.data()
        if not isinstance(data, Dataset):
            raise InvalidTask(
                f"the data of task {self.name!r} is none",
                expected="a gossipfl.Dataset",
                got=type(data).__name__,
            )
        return data

    @cached_property
    def objective(self) -> Objective:
        """The loss, with its comparisons checked."""
        return Objective(self.loss)

    @cached_property
    def layout(self) -> Layout:
        """The layout of the model in a row."""
        return layout_of(self.build_module(), self.share).without(self.constant)

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
        return to_row(made(self.model, name=self.name, seed=seed), self.layout)

    @cached_property
    def fingerprint(self) -> bytes:
        """Digest of what two peers must have in common to learn together: 32 bytes.

        Covers name, shared layout, loss and transform with their settings, metrics, the shared part of the first
        node's initial row, frozen parameters and buffers as they begin, what modules hold beside their rows, and
        kinds and settings of all their parts; no data. Of two that differ `gossipfl.fingerprints` says in which.
        """
        return task_fingerprint(self)

    def is_known_as(self, fingerprint: str) -> bool:
        """Whether files name this task so, in hexadecimal: earlier versions left some of it out."""
        return fingerprint == self.fingerprint.hex() or fingerprint in map(
            bytes.hex, earlier_fingerprints(self)
        )

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.module_on_device(), self.layout, self.objective, self.metrics, name=self.name)

    def evaluate(self, rows: Tensor, inputs: Tree, targets: Tree) -> dict[str, Tensor]:
        """Evaluate models on samples.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, D]``, float32.
        inputs, targets : Tree
            Shape ``[S, ...]``, the same samples for every row.

        Returns
        -------
        dict of str to Tensor
            ``"loss"`` and each metric, shape ``[B]``.

        Raises
        ------
        IncompatibleModel
            If the rows have another width than the layout.
        InvalidTask
            If the module, the loss or a metric fails on the samples, compares shapes that differ, is not a number,
            or differs when it is evaluated again.
        """
        return self._measured(self._evaluator, rows, inputs, targets)

    def evaluate_each(self, rows: Tensor, inputs: Tree, targets: Tree) -> dict[str, Tensor]:
        """Evaluate models, each on samples of its own.

        Parameters
        ----------
        rows : Tensor
            Shape ``[B, D]``, float32.
        inputs, targets : Tree
            Shape ``[B, S, ...]``.

        Returns
        -------
        dict of str to Tensor
            As `evaluate`, and it raises the same.
        """
        return self._measured(self._evaluator.each, rows, inputs, targets)

    def _measured(
        self, measure: Callable[..., dict[str, Tensor]], rows: Tensor, inputs: Tree, targets: Tree
    ) -> dict[str, Tensor]:
        if self.device is None:
            return measure(rows, inputs, targets)
        measured = measure(rows.to(self.device), *placed((inputs, targets), self.device))
        return {name: value.to(rows.device) for name, value in measured.items()}
