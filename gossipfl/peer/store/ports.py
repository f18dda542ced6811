"""The ports a peer last listened on, so that others find it again after a restart."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from gossipfl.files import write_atomically

__all__ = ["recall_ports", "remember_ports"]

logger = logging.getLogger(__name__)


def recall_ports(path: Path) -> dict[str, int]:
    """Read the ports that the operating system chose last time.

    Parameters
    ----------
    path : Path
        A file written by `remember_ports`, or no file.

    Returns
    -------
    dict of str to int
        By address in the settings (with port 0) the port; empty if nothing is known, for this is only a hint.
    """
    try:
        ports = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(ports, dict):
        return {}
    return {address: port for address, port in ports.items() if isinstance(port, int) and 0 < port < 65536}


def remember_ports(path: Path, ports: Mapping[str, int]) -> None:
    """Write down which ports the operating system chose; a disk that refuses is only reported."""
    if not ports or recall_ports(path) == ports:
        return
    try:
        write_atomically(path, json.dumps(dict(ports)).encode())
    except OSError as error:
        logger.warning("the port cannot be remembered for the next start: %s", error.strerror)
