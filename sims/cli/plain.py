"""A console for names and errors that are anybody's."""

from __future__ import annotations

from typing import Any

from rich.console import Console

__all__ = ["plain_console"]


def plain_console(**options: Any) -> Console:  # noqa: ANN401 - rich's own
    """A console that takes brackets and colons for what they are."""
    return Console(markup=False, emoji=False, **options)
