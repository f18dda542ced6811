"""Predictions of the current model of a running peer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
import trio
from torch import Tensor

from gossipfl.errors import InvalidRequest, InvalidTask
from gossipfl.peer.driver import Learning
from gossipfl.peer.gossip.events import State
from gossipfl.peer.personal import FineTuning
from gossipfl.peer.saved_model import predicted
from gossipfl.rows import load_row
from gossipfl.tasks import Dataset, Task

__all__ = ["Predictor"]

_QUICK_SECONDS: Final = 0.001


class Predictor:
    """Computes a peer's newest model on inputs that programs send.

    Small models are computed in the event loop: a worker thread would have to wait for the interpreter twice as
    often while the peer trains.

    Parameters
    ----------
    task : Task
    data : Dataset
        The peer's own, for the type of the numbers.
    learner : Learning
        Owner of the model.
    tuned : callable
        Fine-tuning of models before they are used.
    """

    def __init__(
        self, task: Task, data: Dataset, learner: Learning, *, tuned: Callable[[], FineTuning]
    ) -> None:
        self._task = task
        self._example = data.test_inputs
        self._learner = learner
        self._tuned = tuned
        self._module: torch.nn.Module | None = None
        self._loaded: State | None = None
        self._turn = trio.Lock()
        self._is_quick = False

    async def predict(self, inputs: object) -> dict[str, Any]:
        """Return the outputs for a batch of samples, with the age and event of the model.

        Parameters
        ----------
        inputs : object
            Nested lists of numbers, a sample a row.

        Returns
        -------
        dict
            ``age``, ``event``, ``outputs``; and ``largest``, the place of the largest output of each sample, where
            a sample has several outputs.

        Raises
        ------
        InvalidRequest
            They are no batch, or the model does not accept them.
        """
        batch = self._batch(inputs)
        async with self._turn, self._learner.at_rest():
            if self._is_quick and not self._tuned().is_on:
                return self._compute(batch)
            return await trio.to_thread.run_sync(self._compute, batch)

    def _batch(self, inputs: object) -> Tensor:
        example = self._example
        if not isinstance(example, Tensor):
            raise InvalidRequest(
                "the model takes several inputs, which predictions over HTTP do not support",
                remedy="Use Peer(home).model() in Python.",
            )
        expected = f"a list of samples, each of shape {tuple(example.shape[1:])}, of {_name(example.dtype)}"
        if not _holds_numbers_alone(inputs):  # each text would take as much memory as the longest
            raise InvalidRequest(
                "the inputs are no batch", expected=expected, got="other things than numbers"
            )
        try:
            values = np.asarray(inputs)
        except ValueError as error:
            raise InvalidRequest(
                "the inputs are no batch", expected=expected, got="lists of unequal lengths"
            ) from error
        if values.dtype.kind not in "biuf" or values.ndim < 1 or not len(values):
            raise InvalidRequest("the inputs are no batch", expected=expected, got=_described(values))
        if values.dtype.kind == "f" and not example.dtype.is_floating_point:
            raise InvalidRequest("the inputs have fractions", expected=expected, got=_described(values))
        return torch.from_numpy(np.ascontiguousarray(values)).to(example.dtype)

    def _compute(self, batch: Tensor) -> dict[str, Any]:
        began = time.perf_counter()
        state = self._learner.state
        if self._module is None:
            self._module = self._task.module_on_device().eval()
        if self._loaded is not state:
            rows = self._tuned()(state.nodes.models, state.age)
            load_row(self._module, self._task.layout, rows[0])
            self._loaded = state
        try:
            outputs = predicted(self._module, batch)
        except InvalidTask as error:
            raise InvalidRequest(
                error.what, expected=error.expected, got=error.got, remedy=error.remedy
            ) from error
        answer: dict[str, Any] = {"age": state.age, "event": state.event, "outputs": _listed(outputs)}
        if outputs.dim() == 2 and outputs.shape[1] > 1:
            answer["largest"] = outputs.argmax(dim=1).tolist()
        self._is_quick = (time.perf_counter() - began) / len(batch) < _QUICK_SECONDS / 4 and len(batch) <= 4
        return answer


def _holds_numbers_alone(inputs: object) -> bool:
    pending: list[Any] = [[inputs]]
    while pending:
        within = pending.pop()
        kinds = set(map(type, within))
        if not kinds <= {list, int, float, bool}:
            return False
        if list in kinds:
            pending += [each for each in within if type(each) is list]
    return True


def _listed(outputs: Tensor) -> Any:  # noqa: ANN401 - nested lists of numbers
    """Return outputs as nested lists, with None in place of NaN and infinities."""
    if not outputs.dtype.is_floating_point or bool(outputs.isfinite().all()):
        return outputs.tolist()
    values = outputs.double().numpy().astype(object)
    values[~np.isfinite(outputs.double().numpy())] = None
    return values.tolist()


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _described(values: np.ndarray[Any, Any]) -> str:
    return f"shape {values.shape} of {values.dtype}"
