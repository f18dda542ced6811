"""The most bytes that tensors hold at a time, while operations are watched."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from gossipfl.tasks.samples import leaves

__all__ = ["Living", "Watching"]


class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Shows what each operation returns.

    Parameters
    ----------
    seen : callable
        Called with the operation and its outcome.
    """

    def __init__(self, seen: Callable[[Any, Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seen = seen

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here: else torch imports its compiler at the first operation, a second's work."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operation."""
        found = func(*args, **(kwargs or {}))
        self._seen(func, found)
        return found


class Living:
    """Bytes of tensors that operations made and that are still held.

    Parameters
    ----------
    kept_below : float
        Bytes of a tensor below which its memory is kept by the allocator once it is released: it serves other
        such tensors, but none that are larger.

    Attributes
    ----------
    now, most : int
        Bytes at present, and at most so far, what the allocator keeps included.
    paused : bool
        Whether what is made now does not count.
    """

    def __init__(self, *, kept_below: float = 0) -> None:
        self.now = self.most = 0
        self.paused = False
        self._kept_below, self._small, self._most_small = kept_below, 0, 0
        self._known = WeakIdKeyDictionary()

    def seen(self, operation: Any, found: Any) -> None:  # noqa: ANN401
        """Take note of what an operation returned."""
        del operation
        for leaf in leaves(found):
            if self.paused or not isinstance(leaf, Tensor):
                continue
            storage = leaf.untyped_storage()
            if storage not in self._known:
                size = self._known[storage] = storage.nbytes()
                weakref.finalize(storage, self._gone, size).atexit = False
                self._add(size)
                self._most_small = max(self._most_small, self._small)
                self.most = max(self.most, self.now - self._small + self._most_small)

    def _add(self, size: int) -> None:
        self.now += size
        if abs(size) < self._kept_below:
            self._small += size

    def _gone(self, size: int) -> None:
        self._add(-size)
