"""What the catalogue knows about a family of topologies before anything is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Family", "Kind", "Parameter", "Reading"]

Reading: TypeAlias = Literal["whole number", "number", "shape", "word", "path", "topology", "yes or no"]
Kind: TypeAlias = Literal["graph", "directed graph", "sequence", "random sequence"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a family.

    Attributes
    ----------
    name : str
        As it is written in an expression.
    reading : Reading
        How its text is read.
    default : object, optional
        Its value when it is left out; None if it must be given.
    """

    name: str
    reading: Reading
    default: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of topologies.

    Attributes
    ----------
    name : str
        As it is written in an expression.
    builder : str
        ``module:function`` that makes one; its arguments are named like the parameters.
    kind : Kind
    parameters : tuple of Parameter
        In the order in which unnamed values are taken.
    summary : str
        What it is, in a line.
    citation : str
        Where it comes from.
    example : str
        An expression small enough to draw.
    """

    name: str
    builder: str
    kind: Kind
    parameters: tuple[Parameter, ...]
    summary: str
    citation: str
    example: str

    @property
    def is_sequence(self) -> bool:
        """Whether it changes from round to round."""
        return self.kind.endswith("sequence")

    @property
    def usage(self) -> str:
        """How an expression of this family is written, e.g. ``base:N,k=K``."""
        first, *rest = self.parameters
        parts = [first.name.upper()]
        for parameter in rest:
            usual = parameter.default
            value = parameter.name.upper() if usual is None else "yes" if usual is True else usual
            parts.append(f"{parameter.name}={value}")
        return f"{self.name}:{','.join(parts)}"
