"""Recurrent layers and attention that can be batched over parameters.

torch's GRU, LSTM and RNN layers call fused operators, for which ``vmap`` has no rule. Under this mode they are
computed step by step with torch's own decompositions of the same operators, so that a simulation can train many
models at once; a peer with its one model keeps the fused operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["BatchableOperators"]


@cache
def _decompositions() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Operators by what stands for them; empty where this torch has no decompositions."""
    functions = torch._C._VariableFunctions
    try:
        from torch._decomp import decompositions as known

        return {
            functions.gru: known.gru_impl,
            functions.lstm: partial(_lstm, known),
            functions.rnn_tanh: known.rnn_tanh_input,
            functions.rnn_relu: known.rnn_relu_input,
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
    """Compute an LSTM as torch's decomposition does, but never with oneDNN, which has no rule either."""
    projected = state[0].shape[2] != state[1].shape[2]
    gathered = known.gather_params(parameters, has_biases, projected)
    start = list(zip(*state, strict=True))
    outputs, ends = known._rnn_helper(
        inputs, start, gathered, has_biases, layers, *options, known.one_layer_lstm
    )
    hidden, cell = zip(*ends, strict=True)
    return outputs, torch.stack(hidden), torch.stack(cell)


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


def _attention(  # noqa: PLR0917 - torch calls it
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute ``softmax(Q Kᵀ · scale + mask) V``, as `torch.nn.functional.scaled_dot_product_attention` says."""
    if dropout_p:
        raise RuntimeError("its attention draws random numbers")
    if enable_gqa:
        key = key.repeat_interleave(query.size(-3) // key.size(-3), -3)
        value = value.repeat_interleave(query.size(-3) // value.size(-3), -3)
    scores = query @ key.mT * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        earlier = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~earlier, -torch.inf)
    if attn_mask is not None:
        boolean = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if boolean else scores + attn_mask
    weights = torch.softmax(scores, dim=-1)
    if attn_mask is not None:  # who may look at nothing sees zeros
        blind = (scores == -torch.inf).all(dim=-1, keepdim=True)
        weights = weights.masked_fill(blind, 0)
    return weights @ value


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
        if getattr(func, "__name__", "") == "scaled_dot_product_attention":
            return _attention(*args, **(kwargs or {}))
        # Of packed sequences the third argument is the hidden state: their operators have no decomposition.
        rule = _decompositions().get(func)
        if rule is not None and rule not in _CELLS and not (len(args) > 2 and isinstance(args[2], list)):
            rule = None
        return (rule or func)(*args, **(kwargs or {}))
