"""Names of losses and transforms that are the same in every process, with their settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import numpy as np
from torch import Tensor, nn

from gossipfl.constants import digest
from gossipfl.layout import SharePolicy
from gossipfl.tasks.structure import attributes_of, plain, structure_of

__all__ = ["name_of", "settings_of"]


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


def settings_of(function: Callable[..., object]) -> Any:  # noqa: ANN401
    """Describe in depth what an object, a closure or a partial holds, as plain values."""
    if isinstance(function, functools.partial):
        return [settings_of(function.func), plain(function.args), plain(function.keywords)]
    if isinstance(function, MethodType):
        return plain(function.__self__)
    if isinstance(function, nn.Module):
        return structure_of(function, SharePolicy())
    if hasattr(function, "__qualname__"):
        cells = getattr(function, "__closure__", None) or ()
        names = function.__code__.co_freevars if cells else ()
        return plain(
            {name: cell.cell_contents for name, cell in zip(names, cells, strict=True) if _is_set(cell)}
        )
    return attributes_of(function)


def _is_set(cell: Any) -> bool:  # noqa: ANN401 - a cell of a closure, which may be empty still
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True
