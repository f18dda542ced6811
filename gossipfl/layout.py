"""Layouts: which numbers of a module lie where in its row, and which of them leave the peer.

A row is a float32 vector that holds every number of a module's state in three groups, in this order::

    [ shared parameters | parameters that stay local | frozen parameters and buffers ]
      0 ... shared_size   ... trainable_size          ... size

so that the exchanged part is ``rows[..., :layout.shared_size]`` and the trained part is
``rows[..., :layout.trainable_size]``: two slices, and no copies. Untrained numbers of 64 bits lie in three places
each (`gossipfl.wide`), so that counters and double-precision statistics stay exact.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, cast

import torch
from torch import Tensor, nn

from gossipfl import wide
from gossipfl.errors import InvalidTask
from gossipfl.representable import require_memory_of_their_own, require_representable

__all__ = ["Entry", "Layout", "SharePolicy", "layout_of"]

Group = Literal["shared", "local", "untrained"]
_GROUPS: tuple[Group, ...] = ("shared", "local", "untrained")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePolicy:
    """Which parameters leave the peer.

    Parameters
    ----------
    local : tuple of str
        Names, or shell patterns such as ``"head.*"``, of parameters that are trained here and never sent: a
        personal head. A parameter that is tied under several names stays local if any of them matches.
        Buffers (BatchNorm running statistics) and frozen parameters are never sent either; they need no
        mention.

    Raises
    ------
    InvalidTask
        If ``local`` is not a tuple of strings.

    Examples
    --------
    >>> SharePolicy(local=("head.*",)).keeps_local("head.weight")
    True
    """

    local: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.local, tuple) or not all(isinstance(name, str) for name in self.local):
            raise InvalidTask(
                "the share policy takes a tuple of names",
                expected="such as ('head.*',)",
                got=repr(self.local),
            )

    def keeps_local(self, name: str) -> bool:
        """Whether the parameter of this name stays local."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.local)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of a module inside a row: its place and its original form."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    group: Group
    rows_are_double: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether each number lies in several places of the row: those that its own dtype would round."""
        fits = self.rows_are_double and self.torch_dtype == torch.float64
        return self.group == "untrained" and self.torch_dtype in wide.DTYPES and not fits

    @property
    def size(self) -> int:
        """Number of places in the row."""
        return math.prod(self.shape) * (wide.PLACES if self.is_wide else 1)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The tensor's dtype in its module; in the row it is float32."""
        return cast(torch.dtype, getattr(torch, self.dtype))

    def read(self, rows: Tensor) -> Tensor:
        """Tensor of shape ``[..., *shape]`` in its own dtype, from rows ``[..., D]``: a view where it can be."""
        part = rows[..., self.offset : self.offset + self.size]
        if self.is_wide:
            return wide.narrowed(part, self.torch_dtype).reshape((*rows.shape[:-1], *self.shape))
        return part.reshape((*rows.shape[:-1], *self.shape)).to(self.torch_dtype)

    def flat(self, tensor: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Places in the row, ``[..., size]`` of ``dtype``, of a tensor ``[..., *shape]``."""
        leading = tensor.shape[: tensor.dim() - len(self.shape)]
        numbers = tensor.reshape(*leading, math.prod(self.shape))
        return (wide.widened(numbers.to(self.torch_dtype)) if self.is_wide else numbers).to(dtype)


@dataclass(frozen=True)
class Layout:
    """Positions of a module's tensors in its row.

    Two peers can exchange rows exactly when the digests of their layouts are equal; local parameters are not part
    of the digest, so peers with different personal heads can still share the rest.
    """

    entries: tuple[Entry, ...]

    def _end_of(self, *groups: Group) -> int:
        return sum(entry.size for entry in self.entries if entry.group in groups)

    @cached_property
    def shared_size(self) -> int:
        """Number of elements that are exchanged."""
        return self._end_of("shared")

    @cached_property
    def trainable_size(self) -> int:
        """Number of elements that local training changes by gradients."""
        return self._end_of("shared", "local")

    @cached_property
    def trained_widths(self) -> tuple[int, ...]:
        """Number of elements of each tensor that local training changes by gradients."""
        return tuple(entry.size for entry in self.entries if entry.group != "untrained")

    @cached_property
    def size(self) -> int:
        """Number of elements of a row, D."""
        return self._end_of(*_GROUPS)

    def without(self, names: Collection[str]) -> Layout:
        """The same layout, but for untrained tensors of these names, which rows leave out."""
        kept, offset = [], 0
        for entry in self.entries:
            if entry.group != "untrained" or entry.name not in names:
                kept.append(replace(entry, offset=offset))
                offset += entry.size
        return Layout(tuple(kept))

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 (32 bytes) over names, shapes, dtypes and order of the shared tensors."""
        table = [[e.name, list(e.shape), e.dtype, e.offset] for e in self.entries if e.group == "shared"]
        return hashlib.sha256(json.dumps(table, separators=(",", ":")).encode()).digest()


def layout_of(module: nn.Module, share: SharePolicy | None = None) -> Layout:
    """Lay out a module's state as a row.

    Parameters
    ----------
    module : torch.nn.Module
        Parameters that are tied (one tensor under several names) are counted once, under their first name.
        Buffers that are not persistent are constants of the module and are left out.
    share : SharePolicy, optional
        The parameters that stay local. By default every trainable parameter is shared.

    Returns
    -------
    Layout

    Raises
    ------
    InvalidTask
        If nothing would be shared, a tensor cannot lie in a row (complex, sparse, not initialised yet, on another
        device) or shares memory with another, or a pattern of ``share`` matches no parameter.
    """
    share = share or SharePolicy()
    tensors: dict[Group, list[tuple[str, Tensor]]] = {group: [] for group in _GROUPS}
    names_of: dict[nn.Parameter, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names_of.setdefault(parameter, []).append(name)
    for parameter, names in names_of.items():
        if not parameter.requires_grad:
            tensors["untrained"].append((names[0], parameter))
        else:
            group: Group = "local" if any(map(share.keeps_local, names)) else "shared"
            tensors[group].append((names[0], parameter))
    tensors["untrained"] += _persistent_buffers(module)

    parameter_names = [name for names in names_of.values() for name in names]
    for pattern in share.local:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in parameter_names):
            raise InvalidTask(
                f"the share policy keeps {pattern!r} local, and no parameter has such a name",
                expected=f"one of {', '.join(parameter_names) or 'no parameters at all'}",
                remedy="Correct the name, or use a pattern such as 'head.*'.",
            )
    for name, tensor in itertools.chain(*tensors.values()):
        require_representable(name, tensor)
    require_memory_of_their_own(list(itertools.chain(*tensors.values())))
    if not any(tensor.numel() for _, tensor in tensors["shared"]):
        raise InvalidTask(
            "the module shares nothing",
            expected="at least one trainable parameter that is not kept local",
            got=f"{len(names_of)} parameters, of which none is both trainable and shared",
        )

    entries, offset = [], 0
    # A module in double precision throughout is one of a simulation whose rows are too.
    in_double = all(tensor.dtype == torch.float64 for _, tensor in (*tensors["shared"], *tensors["local"]))
    for group in _GROUPS:
        for name, tensor in tensors[group]:
            entry = Entry(
                name=name,
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                offset=offset,
                group=group,
                rows_are_double=in_double,
            )
            entries.append(entry)
            offset += entry.size
    return Layout(tuple(entries))


def _persistent_buffers(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    persistent = module.state_dict(keep_vars=True).keys()
    return ((name, buffer) for name, buffer in module.named_buffers() if name in persistent)
