"""Settings of what a peer makes of the shared model for its own use."""

from __future__ import annotations

from pydantic import Field, model_validator

from gossipfl.settings.table import Table

__all__ = ["PersonalSettings"]


class PersonalSettings(Table):
    """What a peer makes of the shared model for its own use; nothing of it leaves the peer."""

    fine_tune: int = Field(0, ge=0)
    """steps of training on this peer's own samples before its model is evaluated, used or exported; 0: none"""
    head: str = ""
    """which parameters these steps change: a name, or a pattern such as head.*; all that are trained if empty"""

    @model_validator(mode="after")
    def _head_is_fine_tuned(self) -> PersonalSettings:
        if self.head and not self.fine_tune:
            raise ValueError("head would be without effect: set fine_tune, or leave it out")
        return self
