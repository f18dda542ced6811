"""The declaration of an algorithm or an attack: its name, its paper, and its parameters with their bounds.

Each is one frozen dataclass. Its parameters are its fields, each annotated once::

    consensus_step_size: Annotated[float, Parameter("γ, the coarser the codec, the smaller", gt=0, le=1)] = 1.0

From that are derived a scenario's ``[algorithm]`` section, a peer's settings and flags, the keys of sweeps
(`gossipfl.algorithms.file_form`), what `gossipfl algorithms` shows, and the tables of the documentation.
"""

from __future__ import annotations

import typing
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    get_args,
    get_origin,
)

from pydantic import AfterValidator

from gossipfl.codecs import Compressor
from gossipfl.errors import SettingError
from topology.bounds import is_within

if TYPE_CHECKING:
    from gossipfl.layout import Layout

__all__ = [
    "Algorithm",
    "Declaration",
    "DeclaredParameter",
    "Parameter",
    "parameters_of",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """The description and bounds of a parameter, as an annotation of its field.

    Parameters
    ----------
    description : str
        One line.
    gt, ge, lt, le : float, optional
        Bounds: greater than, at least, less than, at most.
    formerly : str, optional
        An older name that files may still use.
    setting : bool
        Whether users set it; otherwise it follows, for example, from the model.
    in_peers : str, optional
        The peer setting used in its place, such as ``exchange.mode``.

    Examples
    --------
    >>> Parameter("γ: how far a node moves", gt=0, le=1).le
    1
    """

    description: str = ""
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    formerly: str | None = None
    setting: bool = True
    in_peers: str | None = None

    @property
    def bounds(self) -> dict[str, float]:
        """The given bounds, by name."""
        named = {"gt": self.gt, "ge": self.ge, "lt": self.lt, "le": self.le}
        return {name: bound for name, bound in named.items() if bound is not None}

    @property
    def range(self) -> str:
        """The bounds in words, such as ``above 0 and at most 1``; empty without any."""
        words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
        return " and ".join(f"{words[name]} {bound:g}" for name, bound in self.bounds.items())

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return is_within(value, **self.bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredParameter:
    """A parameter of an algorithm as its class declares it.

    Parameters
    ----------
    name : str
    kind : type
        Without its annotations.
    default : object
        ``dataclasses.MISSING`` if it is required.
    about : Parameter
    """

    name: str
    kind: Any
    default: Any
    about: Parameter

    @property
    def kind_name(self) -> str:
        """Accepted values in a file, such as ``int``, ``"oracle" | "local"`` or ``codec``."""
        return _kind_name(self.kind)


class Declaration:
    """A declaration with parameters; subclasses are frozen dataclasses.

    Bounds of the parameters hold however one is made.

    Raises
    ------
    SettingError
        If a parameter is of another kind, out of its range, or contradicts another.

    Examples
    --------
    >>> from gossipfl.algorithms import GossipLearning
    >>> issubclass(GossipLearning, Declaration)
    True
    """

    __slots__ = ()

    name: ClassVar[str] = ""
    """Its name in files; a user's own is named ``module:Class``."""
    paper: ClassVar[str] = ""
    """Authors, venue and year."""
    rule: ClassVar[str] = ""
    """What it does, in a line of mathematics."""

    def __post_init__(self) -> None:
        for parameter in parameters_of(type(self)):
            _require_fitting(type(self), parameter, getattr(self, parameter.name))
        self.check()

    def check(self) -> None:
        """Raise `SettingError` for parameters that contradict each other; by default none do."""


class Algorithm(Declaration):
    """The declaration common to round-based and message-driven algorithms.

    Examples
    --------
    >>> from gossipfl.algorithms import GossipLearning
    >>> issubclass(GossipLearning, Algorithm)
    True
    """

    __slots__ = ()

    kind: ClassVar[Literal["rounds", "messages"]]
    """Whether it runs in rounds, or acts on clocks and messages."""
    also_called: ClassVar[tuple[str, ...]] = ()
    """Older names that files may still use."""
    sends: ClassVar[str] = "P"
    """Numbers that go over a link in a round or with a message, P being the number of shared parameters."""
    theory: ClassVar[Literal["diffusion", "pairwise averages"] | None] = None
    """Theory whose predictions an analysis compares it with: of D-SGD in its orders, or of averages of two."""
    peers_with: ClassVar[str] = ""
    """The parameters with which peers can run it, where they cannot by default."""
    preserves_mean: ClassVar[bool] = True
    """Whether the mean of all models is preserved if nothing is trained and nothing is lost."""

    def fitted(self, layout: Layout) -> Self:
        """The algorithm for models of a layout, which few algorithms need."""
        del layout
        return self

    @property
    def simulator_only(self) -> str | None:
        """Why peers cannot run it; None if they can."""
        return None


def parameters_of(declared: type) -> tuple[DeclaredParameter, ...]:
    """Parameters that the fields of a dataclass declare, those that are not settings left out."""
    return tuple(each for each in _all_parameters(declared) if each.about.setting)


@cache
def _all_parameters(declared: type) -> tuple[DeclaredParameter, ...]:
    hints = typing.get_type_hints(declared, include_extras=True)
    found = []
    for field in fields(declared):
        kind, about = hints[field.name], Parameter()
        if get_origin(kind) is Annotated:
            kind, *metadata = get_args(kind)
            about = next((each for each in metadata if isinstance(each, Parameter)), about)
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        found.append(DeclaredParameter(name=field.name, kind=kind, default=default, about=about))
    return tuple(found)


def _require_fitting(declared: type[Declaration], parameter: DeclaredParameter, value: object) -> None:
    about = parameter.about
    if not _is_of_kind(value, parameter.kind):
        raise SettingError(
            f"{declared.name or declared.__name__}: {parameter.name} is of another kind",
            expected=parameter.kind_name,
            got=repr(value),
        )
    if isinstance(value, int | float) and not isinstance(value, bool) and not about.allows(value):
        raise SettingError(
            f"{declared.name or declared.__name__}: {parameter.name} is out of range",
            expected=about.range,
            got=value,
        )


def _is_of_kind(value: object, kind: Any) -> bool:  # noqa: ANN401  (any annotation)
    """Whether a value is what an annotation says; of those that are not used for parameters, whatever it is."""
    if get_origin(kind) is Annotated:
        kind, *checks = get_args(kind)
        return _is_of_kind(value, kind) and all(_passes(value, check) for check in checks)
    if get_origin(kind) in (Union, UnionType):
        return any(_is_of_kind(value, each) for each in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if kind is Compressor:
        return hasattr(value, "payload_bytes")
    if kind in (int, float):
        wanted = Integral if kind is int else Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, kind)


def _passes(value: Any, check: object) -> bool:  # noqa: ANN401
    """Whether a check that pydantic would make lets a value pass."""
    if isinstance(check, AfterValidator):
        try:
            check.func(value)  # type: ignore[call-arg]
        except ValueError:
            return False
    return True


def _kind_name(kind: Any) -> str:  # noqa: ANN401
    if kind is Compressor or get_origin(kind) is Annotated:
        return "codec"
    if get_origin(kind) is Literal:
        return " | ".join(f'"{each}"' for each in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " | ".join(_kind_name(each) for each in get_args(kind) if each is not NoneType)
    return "table" if is_dataclass(kind) else getattr(kind, "__name__", str(kind))
