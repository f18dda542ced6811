"""Exclusive use of torch's global random generator, which belongs to the process and not to a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["global_generator"]

_LOCK = threading.RLock()


@contextmanager
def global_generator(*, enabled: bool = True) -> Iterator[torch.Generator]:
    """Lend torch's global generator, and leave it as it was.

    Peers of one program train in threads: without a lock one would seed the generator that another draws its
    first model from.

    Parameters
    ----------
    enabled : bool
        Whether it is needed.
    """
    if not enabled:
        yield torch.default_generator
        return
    with _LOCK, torch.random.fork_rng(devices=[]):
        yield torch.default_generator
