"""Families of topologies as the catalogue describes them, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
        Its name in an expression.
    maker : callable or str
        Builds one: a function, or ``module:function``, imported when needed. It takes its arguments by the
        parameters' names and returns a graph, a mixing sequence or a mixing matrix.
    kind : Kind
        Whether it is fixed or changes from round to round; for a user's own function, only its result may show
        which.
    directed : bool
        Whether links have a direction.
    random : bool
        Whether a graph, or every round of a sequence, is drawn from a seed.
    parameters : tuple of Parameter
        Parameters in the order of unnamed values.
    needs : str
        Its requirements: a library, a file, or knowledge of the nodes' data.
    summary : str
        A description, in one line.
    citation : str
        Its source.
    example : str
        An expression small enough to draw.
    former : str
        An earlier name that is still understood.
    renamed : mapping of str to str
        Parameters by earlier names that are still understood.
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
    former: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_sequence(self) -> bool:
        """Whether it changes from round to round."""
        return self.kind == "sequence"

    @property
    def described_kind(self) -> str:
        """Its kind with its attributes, e.g. ``random directed sequence``."""
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
        """Return the function that builds one.

        Raises
        ------
        ImportError
            If a required library is missing.
        """
        if not isinstance(self.maker, str):
            return self.maker
        module, _, function = self.maker.partition(":")
        maker: Maker = getattr(import_module(module), function)
        return maker
