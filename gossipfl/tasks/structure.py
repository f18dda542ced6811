"""Structure of modules: the kinds and settings of their parts, which no tensor shows, as plain values."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from gossipfl.layout import SharePolicy

__all__ = ["attributes_of", "plain", "structure_digest", "structure_of"]

_OF_EVERY_MODULE: Final = frozenset(vars(nn.Module()))
#: Where a model came from and how it writes texts, in configurations of transformers and peft.
_OF_ORIGIN: Final = frozenset(
    {
        "architectures",
        "base_model_name_or_path",
        "generation_config",
        "name_or_path",
        "peft_version",
        "revision",
        "transformers_version",
    }
)
_NESTED = 5
_OMITTED: Final = object()


def structure_digest(module: nn.Module, share: SharePolicy) -> bytes:
    """SHA-256 of a module's structure, as JSON."""
    return hashlib.sha256(json.dumps(structure_of(module, share), sort_keys=True).encode()).digest()


def structure_of(module: nn.Module, share: SharePolicy) -> dict[str, Any]:
    """Describe a module's parts: by path, the name of its class, and its public attributes.

    Left out are tensors and arrays, whose digests are elsewhere (`gossipfl.constants`); parts all of whose
    parameters stay local, and attributes whose names do; and places of files and devices, which are of a machine.
    """
    parts = dict(module.named_modules())
    local = [path for path, part in parts.items() if _is_local(part, path, share)]
    described = {}
    for path, part in parts.items():
        if any(path == each or path.startswith(f"{each}." if each else "") for each in local):
            continue
        attributes = attributes_of(part)
        kept = {name: each for name, each in attributes.items() if not share.keeps_local(_joined(path, name))}
        described[path] = [type(part).__qualname__, kept]
    return described


def _is_local(part: nn.Module, path: str, share: SharePolicy) -> bool:
    names = [_joined(path, name) for name, _ in part.named_parameters()]
    return bool(names) and all(map(share.keeps_local, names))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def attributes_of(value: object, depth: int = _NESTED) -> dict[str, Any]:
    """Public attributes of an object, as plain values."""
    own = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        own |= {name: getattr(value, name) for name in _listed(slots) if hasattr(value, name)}
    internal = _OF_EVERY_MODULE if isinstance(value, nn.Module) else frozenset()
    public = {name: own[name] for name in own if not name.startswith("_") and name not in internal}
    return _entries(public, depth)


def _listed(slots: str | Iterable[str]) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _entries(pairs: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    made = {str(key): _plain(each, depth - 1) for key, each in pairs.items() if str(key) not in _OF_ORIGIN}
    return {key: each for key, each in made.items() if each is not _OMITTED}


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return a value as JSON has it: an object by its class and its attributes, a function by its name."""
    made = _plain(value, _NESTED)
    return None if made is _OMITTED else made


def _plain(value: Any, depth: int) -> Any:  # noqa: ANN401, PLR0911 - one kind of value after the other
    if isinstance(value, bool | int | float | str | None):
        return value if type(value) in (bool, int, float, str, type(None)) else _of_subclass(value)
    if isinstance(value, np.generic):
        return _plain(value.item(), depth)
    if isinstance(value, torch.dtype | complex):
        return str(value)
    if isinstance(value, functools.partial):
        return [
            _plain(value.func, depth - 1),
            _listed_values(value.args, depth),
            _entries(value.keywords, depth),
        ]
    if isinstance(value, Mapping):
        return _entries(value, depth) if depth > 0 else len(value)
    if isinstance(value, list | tuple):
        return _listed_values(value, depth) if depth > 0 else len(value)
    if isinstance(value, set | frozenset):
        return sorted(_listed_values(value, depth), key=json.dumps) if depth > 0 else len(value)
    if isinstance(value, type) or hasattr(value, "__qualname__"):  # a class or a function
        return str(value.__qualname__)
    return _of_object(value, depth)


def _listed_values(values: Iterable[Any], depth: int) -> list[Any]:
    made = [_plain(each, depth - 1) for each in values]
    return [each for each in made if each is not _OMITTED]


def _of_subclass(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Enum):
        return [type(value).__qualname__, value.name]
    return next(kind(value) for kind in (int, float, str) if isinstance(value, kind))


def _of_object(value: object, depth: int) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor | np.ndarray):
        return _OMITTED
    kind = type(value)
    if isinstance(value, Enum):
        return [kind.__qualname__, value.name]
    # Loggers, paths, locks: things of the process, not of the model.
    if kind.__module__.partition(".")[0] in sys.stdlib_module_names and kind is not SimpleNamespace:
        return _OMITTED
    if isinstance(value, nn.Module) and depth > 0:  # which is not registered
        parts = {
            path: [type(part).__qualname__, attributes_of(part, 1)] for path, part in value.named_modules()
        }
        return [kind.__qualname__, parts]
    if not (hasattr(value, "__dict__") or hasattr(kind, "__slots__")):
        return _OMITTED  # a device, a generator
    return [kind.__qualname__, attributes_of(value, depth) if depth > 0 else {}]
