"""Families of topologies as the catalogue knows them, before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeAlias

from topology.catalogue.parameter import Parameter

__all__ = ["Family", "Kind", "Maker"]

Kind: TypeAlias = Literal["graph", "sequence", "graph or sequence"]
Maker: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family of topologies.

    Attributes
    ----------
    name : str
        As it is written in an expression.
    maker : callable or str
        Makes one: a function, or ``module:function``, imported when it is needed. It takes its arguments by
        the parameters' names and returns a graph, a mixing sequence or a mixing matrix.
    kind : Kind
        Whether it stays as it is or changes from round to round; of a function of the user's own, only what
        it returns may tell.
    directed : bool
        Whether links have a direction.
    random : bool
        Of a graph: whether it is drawn from a seed. Of a sequence: whether every round is.
    parameters : tuple of Parameter
        In the order in which unnamed values are taken.
    needs : str
        What it cannot do without: a library, a file, what is known of the nodes' data.
    summary : str
        What it is, in a line.
    citation : str
        Where it comes from.
    example : str
        An expression small enough to draw.
    former : tuple of str
        Earlier names that are still understood.
    """

    name: str
    maker: Maker | str
    kind: Kind
    summary: str
    parameters: tuple[Parameter, ...] = ()
    directed: bool = False
    random: bool = False
    needs: str = ""
    citation: str = "—"
    example: str = ""
    former: tuple[str, ...] = ()

    @property
    def is_sequence(self) -> bool:
        """Whether it changes from round to round."""
        return self.kind == "sequence"

    @property
    def described_kind(self) -> str:
        """Its kind with what is special about it, e.g. ``random directed sequence``."""
        words = ("random" * self.random, "directed" * self.directed, self.kind)
        return " ".join(word for word in words if word)

    @property
    def usage(self) -> str:
        """The form of its expressions, e.g. ``base:N,k=1``."""
        parts = []
        for position, parameter in enumerate(self.parameters):
            if parameter.default is None:
                continue
            value = parameter.name.upper() if parameter.required else parameter.written(parameter.default)
            unnamed = position == 0 and parameter.required and ":" not in self.name
            parts.append(value if unnamed else f"{parameter.name}={value}")
        return f"{self.name}:{','.join(parts)}" if parts else self.name

    def load(self) -> Maker:
        """Return the function that makes one.

        Raises
        ------
        ImportError
            If a library that it needs is missing.
        """
        if not isinstance(self.maker, str):
            return self.maker
        module, _, function = self.maker.partition(":")
        maker: Maker = getattr(import_module(module), function)
        return maker
