"""Settings of common statistics."""

from __future__ import annotations

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["StatsSettings"]


class StatsSettings(Table):
    """Which statistics of a peer's own table may leave it."""

    columns: list[str] = Field(default_factory=list)
    """columns of the schema of which `gossipfl stats gather` tells other members sums and categories; "*" for all,
    and none by default"""
