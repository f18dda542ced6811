"""Settings of common statistics."""

from __future__ import annotations

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["StatsSettings"]


class StatsSettings(Table):
    """Which statistics of a peer's own table may leave it."""

    columns: list[str] = Field(default_factory=list)
    """columns of the schema whose sums and categories `gossipfl stats gather` tells the other members; "*" for all,
    and none if the list is empty"""
