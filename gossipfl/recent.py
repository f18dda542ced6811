"""Mappings of bounded size that drop the entry written longest ago."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["RecentMap"]

Key = TypeVar("Key")
Value = TypeVar("Value")


class RecentMap(OrderedDict[Key, Value]):
    """A mapping in the order of writing, oldest first; writing an entry again makes it the newest.

    Parameters
    ----------
    most : int
        Entries kept; any beyond it are dropped, oldest first.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self.most:
            self.popitem(last=False)

    def restore(self, entries: Iterable[tuple[Key, Value]]) -> None:
        """Hold these entries instead, given from the oldest on."""
        self.clear()
        for key, value in entries:
            self[key] = value
