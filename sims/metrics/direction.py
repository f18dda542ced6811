"""The better end of a metric."""

from __future__ import annotations

__all__ = ["is_lower_better"]

_FALLING = ("loss", "error", "distance", "perplexity", "mse", "mae", "rmse")


def is_lower_better(metric: str) -> bool:
    """Whether lower values of a metric are better: losses, errors and distances."""
    return any(word in metric.lower() for word in _FALLING)
