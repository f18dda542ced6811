"""Settings of a peer's page and of its interface for programs, over HTTP."""

from __future__ import annotations

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["PageSettings"]


class PageSettings(Table):
    """Whether a peer serves its live page, metrics and predictions over HTTP, on this machine only."""

    enabled: bool = False
    """whether to serve them at http://127.0.0.1 (needs gossipfl[page])"""
    port: int = Field(0, ge=0, le=65535)
    """TCP port of the page; 0 takes a free one, which `gossipfl peer page` prints"""
