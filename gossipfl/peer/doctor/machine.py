"""Checks of this machine: memory, versions, the page."""

from __future__ import annotations

import http.client
import platform
import re
import urllib.parse
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from gossipfl import __version__
from gossipfl.errors import GossipflError
from gossipfl.machine import available_memory
from gossipfl.peer.doctor.findings import Finding, error, ok, warning
from gossipfl.peer.page.libraries import require_libraries
from gossipfl.settings import PeerSettings
from topology.parsing import json_of

__all__ = ["check_memory", "check_page", "check_versions"]

#: Python with torch and the network, before any model.
_LIBRARIES_BYTES: Final = 300_000_000
#: Rows resident beside them: docs/performance.md#memory-of-large-models.
_ROWS: Final = 6
_LIBRARIES: Final = ("torch", "numpy", "trio", "cryptography", "safetensors")
_PAGE_SECONDS: Final = 5.0


def check_memory(row_bytes: int | None, *, process: int | None) -> Finding:
    """Compare the memory that can be had with what the model takes.

    Parameters
    ----------
    row_bytes : int or None
        Bytes of the model; None if they are not known.
    process : int or None
        Process of the running peer.
    """
    free, model = available_memory(), 0 if row_bytes is None else row_bytes
    need = _LIBRARIES_BYTES + _ROWS * model
    resident, swapped = _memory_of(process) if process is not None else (0, 0)
    size = "" if row_bytes is None else f" of {model / 1e6:,.1f} MB"
    seen = f"{free / 1e6:,.0f} MB can be had; with a model{size} {need / 1e6:,.0f} MB needed"
    if row_bytes is None:
        seen += ", and six times its size, which is not known before the first checkpoint"
    if resident:
        seen += f", this one {resident / 1e6:,.0f} MB now"
    remedy = "Give the machine or the container more memory, stop other programs, or learn a smaller model."
    if free + resident < need:
        return error("memory", seen, remedy)
    if swapped > 0.1 * resident > 0:
        return warning("memory", f"{seen}, and {swapped / 1e6:,.0f} MB of it are swapped out", remedy)
    return ok("memory", seen)


def _memory_of(process: int) -> tuple[int, int]:
    """Return the resident and the swapped bytes of a process; 0 where they are not known."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # in another container, or no Linux
        return 0, 0
    found = dict(re.findall(r"^(VmRSS|VmSwap):\s+(\d+) kB$", text, re.MULTILINE))
    return 1024 * int(found.get("VmRSS", 0)), 1024 * int(found.get("VmSwap", 0))


def check_versions(running: str | None, neighbours: Mapping[str, str | None]) -> Finding:
    """Compare the installed version with that of the running peer, and of its neighbours.

    Parameters
    ----------
    running : str or None
        Version of the running peer.
    neighbours : mapping of str to str or None
        Software that peers claim to run, by id.
    """
    try:
        libraries = ", ".join(f"{each} {version(each)}" for each in _LIBRARIES)
    except PackageNotFoundError as problem:
        return error("versions", f"{problem.name} is not installed", "Install it: pip install gossipfl")
    seen = f"gossipfl {__version__} on Python {platform.python_version()}, {libraries}"
    if running not in (None, __version__):
        return warning("versions", f"{seen}; the running peer is still {running}", "Restart the peer.")
    others = {each for each in neighbours.values() if each and each != f"gossipfl/{__version__}"}
    if others:
        count = sum(each in others for each in neighbours.values())
        return warning(
            "versions",
            f"{seen}; {count} of {len(neighbours)} peers say that they run {', '.join(sorted(others)[:3])}",
            "Upgrade the peers of a network to one version, one after the other.",
        )
    return ok("versions", seen)


def check_page(settings: PeerSettings, address: str | None, *, running: bool) -> Finding:
    """Check that the page can be served, and answers where a running peer serves it."""
    if not settings.page.enabled and address is None:
        return ok("page", "off (page.enabled)")
    try:
        require_libraries()
    except GossipflError as problem:
        return error("page", str(problem), "Install them: pip install 'gossipfl[page]'.")
    if not running:
        return ok("page", "enabled")
    if address is None:
        return warning("page", "enabled in peer.toml, but the running peer serves none", "Restart the peer.")
    return _check_health(address)


def _check_health(address: str) -> Finding:
    try:
        health = _health(address)
    except (OSError, ValueError, http.client.HTTPException) as problem:
        return error(
            "page", f"{address} does not answer: {problem}", "Look at the peer's log, and restart it."
        )
    if problems := health.get("problems"):
        listed = "; ".join(str(each.get("text")) for each in problems)
        return warning("page", f"{address}healthz says: {listed}", "See the findings named so, and the log.")
    return ok("page", f"{address} answers, and calls the peer healthy")


def _health(address: str) -> dict[str, Any]:
    place = urllib.parse.urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=_PAGE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        health = json_of(connection.getresponse().read())
    finally:
        connection.close()
    if not isinstance(health, dict):
        message = "the answer is no object"
        raise ValueError(message)  # noqa: TRY004 - handled as any other wrong answer
    return health
