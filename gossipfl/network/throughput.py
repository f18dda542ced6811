"""Throughput of a path, estimated from its latest samples."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

__all__ = ["PathThroughput", "Throughput"]

_SAMPLES: Final = 8
_LEAST_SECONDS: Final = 1e-3


class Throughput:
    """Bytes a second that a path carries: the largest of the latest samples.

    A transfer that shares the path with others, or waits for its other end, moves fewer bytes than the path could
    carry, and never more. An average would state how much was used; the maximum over a window approaches how much
    there is, and follows a path that has become slower once the window has passed. BBR estimates the bandwidth
    of a bottleneck in the same way.

    References
    ----------
    Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 14 (5), 2016.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_SAMPLES)

    @property
    def bytes_per_second(self) -> float | None:
        """The estimate; None before the first sample."""
        return max(self._samples, default=None)

    def note(self, size: int, seconds: float) -> None:
        """Record that `size` bytes were transferred and took so long."""
        if size > 0:
            self._samples.append(size / max(seconds, _LEAST_SECONDS))


@dataclass(slots=True)
class PathThroughput:
    """Throughput of the path to another peer, and of that back from it."""

    upload: Throughput = field(default_factory=Throughput)
    download: Throughput = field(default_factory=Throughput)
