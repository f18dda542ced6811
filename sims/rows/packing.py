"""Packing: the state of nodes as two rows, one that travels with messages and one that stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.algorithms.messages import MOMENTUM
from gossipfl.errors import SettingError
from gossipfl.training import Nodes

__all__ = ["Packing"]


@dataclass(frozen=True, slots=True)
class _Field:
    """A tensor of the state: its size within a row, and its shape without the first dimension."""

    name: str
    width: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """Positions of the parts of a node's state.

    Parameters
    ----------
    size : int
        Width of a model.
    travelling, staying : tuple of fields
        After the model in its own row; in the row that stays with the node.
    """

    size: int
    travelling: tuple[_Field, ...]
    staying: tuple[_Field, ...]

    @classmethod
    def of(cls, nodes: Nodes, carries: tuple[str, ...]) -> Packing:
        """Lay out the state of nodes as an algorithm starts them.

        Parameters
        ----------
        nodes : Nodes
        carries : tuple of str
            Names of the parts that travel, as in `gossipfl.algorithms.Behaviour`, or of all.

        Raises
        ------
        SettingError
            The algorithm keeps state of another dtype than the rows.
        """
        state = _state(nodes)
        other = [name for name, tensor in state.items() if tensor.dtype != nodes.rows.dtype]
        if other:
            raise SettingError(
                "auxiliary rows of message-driven algorithms must have the dtype of models",
                expected=nodes.rows.dtype,
                got=", ".join(f"{name} {state[name].dtype}" for name in other),
            )
        fields = {
            name: _Field(name, tensor[0].numel(), tuple(tensor.shape[1:])) for name, tensor in state.items()
        }
        return cls(
            size=nodes.rows.shape[1],
            travelling=tuple(fields[name] for name in carries),
            staying=tuple(field for name, field in fields.items() if name not in carries),
        )

    @property
    def width(self) -> int:
        """Numbers in a row that travels."""
        return self.size + sum(field.width for field in self.travelling)

    @property
    def kept_width(self) -> int:
        """Numbers in a row that stays."""
        return sum(field.width for field in self.staying)

    def pack(self, nodes: Nodes) -> tuple[Tensor, Tensor]:
        """Rows ``[B, width]`` and ``[B, kept_width]`` of nodes."""
        state = _state(nodes)
        travelling = [state[field.name].reshape(len(nodes), field.width) for field in self.travelling]
        staying = [state[field.name].reshape(len(nodes), field.width) for field in self.staying]
        rows = torch.cat([nodes.rows, *travelling], dim=1) if travelling else nodes.rows
        if len(staying) == 1:
            return rows, staying[0]
        return rows, torch.cat([nodes.rows[:, :0], *staying], dim=1)

    def unpack(self, rows: Tensor, kept: Tensor, *, ages: Tensor, steps: Tensor) -> Nodes:
        """Nodes from such rows, and their ages and step counters."""
        state = {
            **_split(rows, self.travelling, start=self.size),
            **_split(kept, self.staying, start=0),
        }
        return Nodes(
            rows=rows[:, : self.size] if self.travelling else rows,
            ages=ages,
            steps=steps,
            optimiser_state=state.pop(MOMENTUM),
            auxiliary=state,
        )


def _state(nodes: Nodes) -> dict[str, Tensor]:
    """All state of nodes besides models, ages and counters."""
    return {MOMENTUM: nodes.optimiser_state, **nodes.auxiliary}


def _split(packed: Tensor, fields: tuple[_Field, ...], *, start: int) -> dict[str, Tensor]:
    if len(fields) == 1 and start == 0:
        return {fields[0].name: packed.reshape(len(packed), *fields[0].shape)}
    found = {}
    for field in fields:
        end = start + field.width
        found[field.name] = packed[:, start:end].reshape(len(packed), *field.shape)
        start = end
    return found
