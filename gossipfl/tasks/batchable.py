"""Recurrent layers, attention, convolutions and linear layers that can be batched over parameters.

torch's GRU, LSTM and RNN layers call fused operators, for which ``vmap`` has no rule. Under this mode they are
computed by `gossipfl.tasks.batched_recurrence`, so that a simulation can train many models at once; a peer with
its one model keeps the fused operators. Attention of all rows is one call of its own fused operator, as are
convolutions, and a linear layer one product a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import FunctionType, ModuleType
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from gossipfl.tasks.batched_attention import attention, attention_of_one
from gossipfl.tasks.batched_convolution import CONVOLUTIONS, convolution, convolution_of_one
from gossipfl.tasks.batched_pooling import POOLING, RECTIFIERS, max_pool, max_pool_of_one, rectified
from gossipfl.tasks.batched_recurrence import gru_layer, lstm_layer, plain_layer
from gossipfl.tasks.native_lstm import is_native

__all__ = ["BatchableOperators", "NativeRecurrence", "OneRowOperators"]


@cache
def _decompositions() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Operators and their decompositions; empty if this torch has none."""
    functions = torch._C._VariableFunctions
    try:
        from torch._decomp import decompositions as known

        return {
            functions.gru: partial(_recurrent, known, gru_layer),
            functions.lstm: partial(_lstm, known),
            functions.rnn_tanh: partial(_recurrent, known, partial(plain_layer, relu=False)),
            functions.rnn_relu: partial(_recurrent, known, partial(plain_layer, relu=True)),
            functions.lstm_cell: _lstm_cell,
            functions.gru_cell: _gru_cell,
        }
    except (ImportError, AttributeError):
        return {}


def _lstm(  # noqa: PLR0917 - torch calls it
    known: ModuleType,
    inputs: Tensor,
    state: Sequence[Tensor],
    parameters: Sequence[Tensor],
    has_biases: bool,  # noqa: FBT001
    layers: int,
    *options: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute an LSTM; a projected one as torch's decomposition does, but never with oneDNN, which has no rule."""
    projected = state[0].shape[2] != state[1].shape[2]
    gathered = known.gather_params(parameters, has_biases, projected)
    start = list(zip(*state, strict=True))
    outputs, ends = known._rnn_helper(
        inputs,
        start,
        gathered,
        has_biases,
        layers,
        *options,
        known.one_layer_lstm if projected else lstm_layer,
    )
    hidden, cell = zip(*ends, strict=True)
    return outputs, torch.stack(hidden), torch.stack(cell)


def _recurrent(  # noqa: PLR0917 - torch calls it
    known: ModuleType,
    layer: Callable[..., tuple[Tensor, Tensor]],
    inputs: Tensor,
    state: Tensor,
    parameters: Sequence[Tensor],
    has_biases: bool,  # noqa: FBT001
    layers: int,
    *options: Any,  # noqa: ANN401
) -> tuple[Tensor, Tensor]:
    """Compute layers of a kind with one state."""
    gathered = known.gather_params(parameters, has_biases, False)  # noqa: FBT003
    outputs, ends = known._rnn_helper(inputs, state.unbind(0), gathered, has_biases, layers, *options, layer)
    return outputs, torch.stack(ends)


def _lstm_cell(  # noqa: PLR0917 - torch calls it
    inputs: Tensor,
    state: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    hidden, cell = state
    gates = functional.linear(inputs, w_ih, b_ih) + functional.linear(hidden, w_hh, b_hh)
    entry, forget, new, out = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(entry) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


def _gru_cell(  # noqa: PLR0917 - torch calls it
    inputs: Tensor,
    hidden: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    seen = functional.linear(inputs, w_ih, b_ih).chunk(3, dim=-1)
    kept = functional.linear(hidden, w_hh, b_hh).chunk(3, dim=-1)
    reset, update = torch.sigmoid(seen[0] + kept[0]), torch.sigmoid(seen[1] + kept[1])
    new = torch.tanh(seen[2] + reset * kept[2])
    return update * hidden + (1 - update) * new


_CELLS = (_lstm_cell, _gru_cell)


def _linear(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute a linear layer as one product per row, whatever the memory layout of its inputs."""
    if inputs.dim() <= 2:
        return functional.linear(inputs, weight, bias)
    return functional.linear(inputs.flatten(0, -2), weight, bias).reshape(*inputs.shape[:-1], len(weight))


def _with_calls_seen(function: FunctionType) -> FunctionType:
    """Copy of a function of `torch.nn.functional`, of which a mode sees what it calls and not the whole."""
    namespace = {**function.__globals__, "has_torch_function": lambda _: False}
    copy = FunctionType(
        function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


_multi_head = _with_calls_seen(cast("FunctionType", functional.multi_head_attention_forward))


def _known(tensor: Tensor) -> bool:
    """Truth of a constant, such as whether a mask is the causal one: ``vmap`` refuses that of anything else."""
    from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

    with disable_proxy_modes_tracing():  # tracing would refuse that of constants too
        return bool(tensor)


_ORDER_OF_MEMORY = "view size is not compatible", "querying is_contiguous inside of vmap"


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Call an operator; if it needs it, on copies in the order of memory that a convolution of one row has."""
    try:
        return function(*args, **kwargs)
    except RuntimeError as error:
        if not any(reason in str(error) for reason in _ORDER_OF_MEMORY):
            raise
    copies = [each.contiguous() if isinstance(each, Tensor) else each for each in args]
    return function(*copies, **kwargs)


_OF_IMAGES: dict[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys(CONVOLUTIONS, convolution),
    **dict.fromkeys(RECTIFIERS, rectified),
    **dict.fromkeys(POOLING, max_pool),
}
_BY_NAME: dict[str, Callable[..., Any]] = {"scaled_dot_product_attention": attention, "linear": _linear}


class BatchableOperators(TorchFunctionMode):
    """While this is active, recurrent layers and attention are computed with operators that ``vmap`` knows."""

    def __enter__(self) -> BatchableOperators:
        self._fastpath = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        torch.backends.mha.set_fastpath_enabled(self._fastpath)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator, or its decomposition."""
        if (own := _OF_IMAGES.get(func)) is not None:
            return own(*args, **(kwargs or {}))
        if func is functional.multi_head_attention_forward:
            with self:
                return _multi_head(*args, **(kwargs or {}))
        if (named := _BY_NAME.get(getattr(func, "__name__", ""))) is not None:
            return named(*args, **(kwargs or {}))
        if func is Tensor.__bool__:
            return _known(*args)
        # Of packed sequences the third argument is the hidden state: their operators have no decomposition.
        rule = _decompositions().get(func)
        if rule is not None and rule not in _CELLS and not (len(args) > 2 and isinstance(args[2], list)):
            rule = None
        return _called(rule or func, args, kwargs or {})


_MOST_OF_ONE_ROW = 1 << 18  # weights of an LSTM: from there on torch's own takes as long


class NativeRecurrence(TorchFunctionMode):
    """While this is active, LSTM layers of a single row, too, are computed by the kernels of many rows."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator, or its replacement."""
        return _recurrence_of(func, args, kwargs)(*args, **(kwargs or {}))


def _recurrence_of(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> Callable[..., Any]:
    """What computes an operator of one row: of an LSTM our kernels, where they can and pay."""
    # As `torch.nn.LSTM` calls it; whoever calls it by keywords gets torch's.
    if func is torch._C._VariableFunctions.lstm and not kwargs and _has_kernels(*args):
        return _decompositions().get(func, func)
    return func


class OneRowOperators(TorchFunctionMode):
    """While this is active, a single row's layers are computed by what is fast among the operators of many rows.

    All else is torch's own, without a dimension of rows.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator, or its replacement."""
        if func is functional.multi_head_attention_forward:
            with self:
                return _multi_head(*args, **(kwargs or {}))
        if (own := _IMAGES_OF_ONE.get(func)) is not None:
            return own(*args, **(kwargs or {}))
        if (named := _OF_ONE.get(getattr(func, "__name__", ""))) is not None:
            return named(*args, **(kwargs or {}))
        if func is Tensor.view and not kwargs and not isinstance(args[1], torch.dtype):
            return args[0].reshape(*args[1:])  # of what has its channels last
        if func in _PLAIN_RECURRENCE and len(args) > 2 and isinstance(args[2], list):
            return _decompositions().get(func, func)(*args, **(kwargs or {}))
        return _recurrence_of(func, args, kwargs)(*args, **(kwargs or {}))


_PLAIN_RECURRENCE = tuple(
    getattr(torch._C._VariableFunctions, name) for name in ("gru", "rnn_tanh", "rnn_relu")
)
_IMAGES_OF_ONE: dict[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys(CONVOLUTIONS, convolution_of_one),
    **dict.fromkeys(RECTIFIERS, rectified),
    **dict.fromkeys(POOLING, max_pool_of_one),
}
_OF_ONE: dict[str, Callable[..., Any]] = {
    "scaled_dot_product_attention": attention_of_one,
    "linear": _linear,
}


def _has_kernels(inputs: Tensor, state: Any, parameters: Any, *options: Any) -> bool:  # noqa: ANN401
    """Whether all layers of an LSTM have, given these: of padded samples, without dropout or projections."""
    if not isinstance(parameters, list) or inputs.dim() != 3:
        return False
    _, _, dropout, training, *_ = options
    if state[0].shape != state[1].shape or (dropout and training):
        return False
    is_small = sum(each.numel() for each in parameters) <= _MOST_OF_ONE_ROW
    return is_small and is_native(inputs, state, parameters)
