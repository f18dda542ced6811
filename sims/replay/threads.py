"""Torch's number of threads, set for a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["set_threads_kept"]


@contextmanager
def set_threads_kept(threads: int | None = None) -> Iterator[None]:
    """Set the number of threads, if given; restore it on exit, whatever was set within."""
    before = torch.get_num_threads()
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(before)
