"""Failures of an author's own code, as errors that name the part that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from gossipfl.errors import InvalidTask
from topology.errors import ExplainedError

__all__ = ["failures_named", "training_failures_named"]


@contextmanager
def failures_named(what: str, *, remedy: str | None = None) -> Iterator[None]:
    """Re-raise any exception of an author's code as `InvalidTask`; named errors pass unchanged."""
    try:
        yield
    except ExplainedError:
        raise
    except Exception as error:
        raise InvalidTask(what, got=f"{type(error).__name__}: {error}".strip(), remedy=remedy) from error


def training_failures_named() -> AbstractContextManager[None]:
    """`failures_named` around training steps."""
    return failures_named(
        "training failed on a batch of the task's own data",
        remedy="Look for labels or indices out of range, and samples of another form; what was saved stays.",
    )
