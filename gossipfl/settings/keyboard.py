"""Settings of a peer that is its owner's keyboard."""

from __future__ import annotations

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["KeyboardSettings"]


class KeyboardSettings(Table):
    """Whether a peer keeps what its owner types, encrypted, learns from it, and suggests words."""

    enabled: bool = False
    """whether what is typed on the peer's page is kept in its home, trained on, and suggested; for the task
    next-word"""
    days: float = Field(90.0, gt=0, le=36_500)
    """age in days at which what was typed is forgotten"""
    megabytes: float = Field(8.0, gt=0.01, le=1_000)
    """size of what was typed, on the disk, at which the oldest is forgotten"""
