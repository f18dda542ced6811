"""Calls of an algorithm's own functions, whose errors cite the author's line and whose results are checked."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from gossipfl.errors import InvalidAlgorithm
from gossipfl.training.nodes import Nodes
from topology.errors import ExplainedError

if TYPE_CHECKING:
    from gossipfl.algorithms.base import RoundAlgorithm
    from gossipfl.algorithms.exchanges import Links
    from gossipfl.algorithms.messages import Message, MessageAlgorithm, Update

__all__ = [
    "errors_of_author",
    "on_answer",
    "on_clock",
    "on_receipt",
    "require_same_form",
    "start_nodes",
]


@contextmanager
def errors_of_author(
    what: str, *, module: str, error: type[ExplainedError] = InvalidAlgorithm
) -> Iterator[None]:
    """Re-raise any exception as a named error; errors that have a name pass unchanged.

    Parameters
    ----------
    what : str
        What failed, for the message.
    module : str
        Name of the author's module, whose line is cited.
    error : type of ExplainedError
    """
    try:
        yield
    except (ExplainedError, MemoryError):
        raise
    except Exception as failure:
        raised = f"{type(failure).__name__}: {failure}".removesuffix(": ")
        raise error(what, got=f"{raised}{_line_of(failure, module)}") from failure


def require_same_form(before: Nodes, after: Nodes, *, what: str) -> None:
    """Refuse nodes that could not go on as those before: their tensors have another shape, dtype or device.

    Auxiliary values are left out.

    Raises
    ------
    InvalidAlgorithm
        Beginning with ``what``, and the name of the tensor.
    """
    for name in ("rows", "ages", "steps", "optimiser_state"):
        expected, got = _form(getattr(before, name)), _form(getattr(after, name))
        if got != expected:
            raise InvalidAlgorithm(f"{what} {name} of the form they had", expected=expected, got=got)


def start_nodes(
    algorithm: RoundAlgorithm | MessageAlgorithm, nodes: Nodes, *, links: Links | None = None, **given: object
) -> Nodes:
    """Nodes as an algorithm starts them.

    Parameters
    ----------
    algorithm : RoundAlgorithm or MessageAlgorithm
    nodes : Nodes
        Without auxiliary values.
    links : Links, optional
        Of algorithms that keep values for link ends.
    given
        Further arguments of its ``start``.

    Raises
    ------
    InvalidAlgorithm
        If it fails, or does not return the nodes with auxiliary tensors.
    """
    name = type(algorithm).__name__
    start: Callable[..., Nodes] = algorithm.start
    if links is not None:
        start = partial(start, links=links)
    after = _returned(algorithm, "start", lambda: start(nodes, **given))
    require_same_form(nodes, after, what=f"{name}: start must return")
    shapes = {(len(nodes),)} if links is None else {(len(nodes),), (len(links.owner),)}
    for key, values in after.auxiliary.items():
        if not isinstance(values, Tensor) or values.shape[:1] not in shapes:
            raise InvalidAlgorithm(
                f"{name}: start must make the auxiliary values {key!r} for each node",
                expected=f"a tensor [{len(nodes)}, ...]",
                got=_form(values),
            )
    return after


def on_receipt(algorithm: MessageAlgorithm, nodes: Nodes, message: Message, *, update: Update) -> Nodes:
    """`MessageAlgorithm.on_receipt`, with its errors named."""
    return _after(
        algorithm, "on_receipt", nodes, lambda then: algorithm.on_receipt(nodes, message, update=then), update
    )


def on_clock(algorithm: MessageAlgorithm, nodes: Nodes, *, shared_size: int, update: Update) -> Nodes:
    """`MessageAlgorithm.on_clock`, with its errors named."""
    return _after(
        algorithm,
        "on_clock",
        nodes,
        lambda then: algorithm.on_clock(nodes, shared_size=shared_size, update=then),
        update,
    )


def on_answer(
    algorithm: MessageAlgorithm, nodes: Nodes, message: Message, begun: Nodes, *, update: Update
) -> Nodes:
    """`MessageAlgorithm.on_answer`, with its errors named."""
    return _after(
        algorithm,
        "on_answer",
        nodes,
        lambda then: algorithm.on_answer(nodes, message, begun, update=then),
        update,
    )


def _after(
    algorithm: MessageAlgorithm,
    occasion: str,
    nodes: Nodes,
    act: Callable[[Update], Nodes],
    update: Update,
) -> Nodes:
    name = f"{type(algorithm).__name__}, {occasion}"

    def checked(before: Nodes) -> Nodes:
        require_same_form(nodes, before, what=f"{name}: update must be given")
        return update(before)

    after = _returned(algorithm, occasion, lambda: act(checked))
    require_same_form(nodes, after, what=f"{name} must return")
    expected, got = _forms(nodes.auxiliary), _forms(after.auxiliary)
    if got != expected:
        raise InvalidAlgorithm(
            f"{name} must return all auxiliary values as start made them",
            expected=_described(expected),
            got=_described(got),
            remedy="Return {**nodes.auxiliary, ...} with those that changed.",
        )
    return after


def _returned(
    algorithm: RoundAlgorithm | MessageAlgorithm, function: str, call: Callable[[], Nodes]
) -> Nodes:
    name = type(algorithm).__name__
    with errors_of_author(f"{name}: {function} failed", module=type(algorithm).__module__):
        after = call()
    if not isinstance(after, Nodes):
        raise InvalidAlgorithm(
            f"{name}: {function} must return nodes", expected="Nodes", got=type(after).__name__
        )
    return after


def _line_of(error: Exception, module: str) -> str:
    """The place in a module where an error was raised; empty if it was elsewhere."""
    file = getattr(sys.modules.get(module), "__file__", None)
    lines = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == file]
    return f", at {file}:{lines[-1]}" if lines else ""


def _form(values: object) -> str:
    """Type, shape and device of a tensor, such as ``float32 [4, 10] on cpu``."""
    if not isinstance(values, Tensor):
        return type(values).__name__
    return f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)} on {values.device}"


def _forms(auxiliary: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: _form(values) for name, values in auxiliary.items()}


def _described(forms: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {form}" for name, form in sorted(forms.items())) or "none"
