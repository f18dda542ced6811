"""Shares of the digits by name, without torch: `gossipfl peer init` makes many peers of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gossipfl.errors import InvalidPartition
from gossipfl.tasks.clusters import parse_clusters
from gossipfl.tasks.partition import parse_partition

__all__ = ["digits_file", "known_name", "name_of_share"]


def name_of_share(
    *, partition: str = "iid", clusters: str = "", peers: int = 1, index: int = 0, seed: int = 0
) -> str:
    """Return the name of the task of which this is a peer's share; see `gossipfl.tasks.digits.digits`.

    Raises
    ------
    InvalidPartition
        There is no such share.
    """
    if not 0 <= index < peers:
        raise InvalidPartition(
            "this peer's index lies outside the partition",
            expected="at least one peer, and an index below their number",
            got=f"index {index} of {peers} peers",
        )
    parse_partition(partition)
    if clusters:
        parse_clusters(clusters)
    return f"digits/{seed}"


def digits_file() -> Path | None:
    """Return the file of the digits that scikit-learn ships; None if it is not installed."""
    found = importlib.util.find_spec("sklearn")
    file = Path(found.origin).parent / "datasets/data/digits.csv.gz" if found and found.origin else None
    return file if file is not None and file.is_file() else None


def known_name(name: str, options: Mapping[str, Any]) -> str | None:
    """Return the name of a bundled task that is ready as it is; None if that takes making and trying it."""
    if name != "digits" or digits_file() is None:
        return None
    try:
        return name_of_share(**options)
    except Exception:  # whatever is wrong with the options, `find_task` names it
        return None
