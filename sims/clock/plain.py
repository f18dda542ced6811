"""Plain values as an array of bytes, for checkpoints: numbers, names, lists of these."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from topology.parsing import json_of

__all__ = ["Arrays", "Event", "as_array", "events_of", "of_array", "plain_events", "under", "within"]

Arrays: TypeAlias = dict[str, NDArray[np.generic]]
Event: TypeAlias = tuple[Any, int, Callable[..., None], tuple[Any, ...]]
"""When it happens, its number, the method that is called then, and what with: numbers, and tuples of these."""


def as_array(plain: Any) -> NDArray[np.uint8]:  # noqa: ANN401
    """Write values as JSON, in which every float is exact; tuples become lists."""
    written = json.dumps(plain, separators=(",", ":"), default=lambda number: number.item())
    return np.frombuffer(written.encode(), dtype=np.uint8)


def of_array(array: NDArray[np.generic]) -> Any:  # noqa: ANN401
    """Read them."""
    return json_of(array.tobytes())


def under(name: str, arrays: Arrays) -> Arrays:
    """Arrays by names that begin with that of their part."""
    return {f"{name}.{each}": array for each, array in arrays.items()}


def within(name: str, arrays: Arrays) -> Arrays:
    """Those of a part."""
    return {each.removeprefix(f"{name}."): a for each, a in arrays.items() if each.startswith(f"{name}.")}


def plain_events(events: Sequence[Event]) -> list[Any]:
    """Events with the names of their methods."""
    return [(time, order, happens.__name__, about) for time, order, happens, about in events]


def events_of(plain: list[Any], happenings: Sequence[Callable[..., None]]) -> list[Event]:
    """Events of which the methods are among those given, in the same order."""
    known = {each.__name__: each for each in happenings}
    return [
        (time, order, known[name], tuple(tuple(each) if isinstance(each, list) else each for each in about))
        for time, order, name, about in plain
    ]
