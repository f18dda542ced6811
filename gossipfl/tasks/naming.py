"""Names of losses and transforms that are the same in every process, with their settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor, nn

from gossipfl.constants import digest

__all__ = ["name_of"]


def name_of(function: Callable[..., object]) -> str:
    """Name a function, with the settings of partials and objects: plain values, and a digest of arrays."""
    if isinstance(function, functools.partial):
        settings = {**{str(place): value for place, value in enumerate(function.args)}, **function.keywords}
        return name_of(function.func) + _described(settings)
    if hasattr(function, "__qualname__"):
        return f"{function.__module__}.{function.__qualname__}"
    kind = type(function)
    settings = dict(getattr(function, "__dict__", {}))
    if isinstance(function, nn.Module):
        settings.update(function.state_dict())
    return f"{kind.__module__}.{kind.__qualname__}" + _described(settings)


def _described(settings: Mapping[str, object]) -> str:
    plain = {key: value for key, value in settings.items() if isinstance(value, str | int | float | None)}
    arrays = {key: value for key, value in settings.items() if isinstance(value, Tensor | np.ndarray)}
    return json.dumps(plain, sort_keys=True) + (f"#{digest(arrays).hex()}" if arrays else "")
