"""Hooks that see gradients: those a module holds, and those it registers while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["HookWatch", "holds_hooks"]


def holds_hooks(module: nn.Module) -> bool:
    """Whether the module, a part of it or a parameter has a hook of the backward pass."""
    parts = any(part._backward_hooks or part._backward_pre_hooks for part in module.modules())
    return parts or any(
        each._backward_hooks or each._post_accumulate_grad_hooks for each in module.parameters()
    )


class HookWatch(TorchFunctionMode):
    """While this is active, it is noted whether a tensor is given a hook of the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator."""
        name = getattr(func, "__name__", "")
        self.seen |= name in {"register_hook", "register_post_accumulate_grad_hook"}
        return func(*args, **(kwargs or {}))
