"""Nurseries, and errors out of the groups in which they raise them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from gossipfl.errors import GossipflError

__all__ = ["background_nursery", "first_error", "naming_the_first_error"]


@asynccontextmanager
async def background_nursery() -> AsyncIterator[trio.Nursery]:
    """Run tasks for as long as a block lasts, and cancel them at its end.

    What the block raises comes out as it is; a nursery would wrap it in a group.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:
            failure = error
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def first_error(error: BaseException) -> BaseException:
    """Return the first error in a group, or in groups of groups; any other error is itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@contextmanager
def naming_the_first_error() -> Iterator[None]:
    """Raise the first named error of a group of them as it is; other groups come out as they are."""
    try:
        yield
    except BaseExceptionGroup as group:  # and no except*, which may wrap what is raised in it once more
        named, others = group.split(GossipflError)
        if named is None or others is not None:
            raise
        raise first_error(named) from None
