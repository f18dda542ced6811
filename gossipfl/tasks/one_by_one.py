"""A switch to computing rows one by one, where several could go through a module together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["are_one_by_one", "one_by_one"]

_SWITCH = ContextVar("one_by_one", default=False)


def are_one_by_one() -> bool:
    """Whether rows are to be computed one by one now."""
    return _SWITCH.get()


@contextmanager
def one_by_one() -> Iterator[None]:
    """Compute rows one by one meanwhile: the module's own results, and nothing that batching needs is loaded."""
    before = _SWITCH.set(True)
    try:
        yield
    finally:
        _SWITCH.reset(before)
