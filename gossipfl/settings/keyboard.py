"""Settings of a peer that is its owner's keyboard."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["TASK_OF_KEYBOARDS", "KeyboardSettings"]

TASK_OF_KEYBOARDS: Final = "next-word"
"""The task that suggests words."""


class KeyboardSettings(Table):
    """Whether a peer keeps what its owner types, encrypted, learns from it, and suggests words."""

    enabled: bool = False
    """whether what is typed on the peer's page is kept in its home, trained on, and suggested; for the task
    next-word"""
    days: float = Field(90.0, gt=0, le=36_500)
    """age in days at which what was typed is forgotten"""
    repeats: int = Field(5, ge=0)
    """how often three words in a row are trained on at most, so that what the owner types again and again does not
    come to be suggested to others; the personal model has no limit; 0 for none"""
    megabytes: float = Field(8.0, gt=0.01, le=1_000)
    """size of what was typed, on the disk, at which the oldest is forgotten"""
