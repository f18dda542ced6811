"""Settings of a peer's log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["LogSettings"]


class LogSettings(Table):
    """What a peer's log holds, and how it is written to standard error and to the log in its home."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """least level of what is logged: debug, info, warning or error"""
    format: Literal["text", "json"] = "text"
    """form of lines on standard error: text, or json with one object a line"""
    file_megabytes: float = Field(2.0, ge=0)
    """size after which the log in the home begins a new file; the last three are kept; 0 writes none"""
