"""The ports that a peer last listened on, so that others find it again after a restart."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from gossipfl.files import write_atomically
from topology.parsing import json_of

__all__ = ["recall_ports", "remember_ports"]

logger = logging.getLogger(__name__)


def recall_ports(path: Path) -> dict[str, int]:
    """Read the ports that the operating system chose last time, by address in the settings (with port 0).

    They are only a hint: the result is empty if `path` is missing or damaged.
    """
    try:
        ports = json_of(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(ports, dict):
        return {}
    return {address: port for address, port in ports.items() if isinstance(port, int) and 0 < port < 65536}


def remember_ports(path: Path, ports: Mapping[str, int]) -> None:
    """Store the ports that the operating system chose; disk errors are only reported."""
    if not ports or recall_ports(path) == ports:
        return
    try:
        write_atomically(path, json.dumps(dict(ports)).encode())
    except OSError as error:
        logger.warning("the port cannot be stored for the next start: %s", error.strerror)
