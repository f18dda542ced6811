"""The file in which a running peer leaves what it observed for the doctor."""

from __future__ import annotations

from typing import Any

from gossipfl.errors import HomeError
from gossipfl.peer.store.home import Home
from topology.parsing import json_of

__all__ = ["read_examination"]


def read_examination(home: Home) -> dict[str, Any] | None:
    """Read the last examination; None if there is none.

    Raises
    ------
    HomeError
        It is damaged.
    """
    try:
        values = json_of(home.examination.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HomeError(f"{home.examination} cannot be read", got=str(error), remedy="Delete it.") from error
    return values if isinstance(values, dict) else None
