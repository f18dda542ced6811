"""Checks of a peer's directory: settings, secrets, disk, membership."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from gossipfl.errors import GossipflError
from gossipfl.files import temporary_beside
from gossipfl.moments import moment
from gossipfl.network import load_identity
from gossipfl.peer.doctor.findings import Finding, error, ok, warning
from gossipfl.peer.membership.described import network_of
from gossipfl.peer.membership.door_choice import door_kind, with_introducers
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.peer.store.home import Home
from gossipfl.settings import PeerSettings, load_settings, with_modules

__all__ = ["check_disk", "check_membership", "check_secrets", "check_settings"]

_PROBE_BYTES: Final = 64 * 1024
_SLOW_SECONDS: Final = 1.0
_SPARE_BYTES: Final = 16_000_000
_SOON_SECONDS: Final = 14 * 86_400


def check_settings(home: Home) -> tuple[PeerSettings | None, Finding]:
    """Read a peer's settings; None if they are wrong."""
    try:
        settings = _resolved(home, load_settings(home.settings))
    except GossipflError as problem:
        return None, error("settings", str(problem), f"Correct {home.settings}.")
    return settings, ok("settings", f"{home.settings} is valid")


def _resolved(home: Home, settings: PeerSettings) -> PeerSettings:
    """Return the settings with everything that its other files hold, the algorithm checked."""
    settings = with_modules(settings, home.directory)
    if settings.rounds.algorithm is not None:
        from gossipfl.peer.rounds.driver import in_rounds  # imports torch

        peer_id = load_identity(home.directory).peer_id
        settings = in_rounds(settings, directory=home.directory, peer_id=peer_id)
    elif not settings.gossip.is_as_declared:
        from gossipfl.peer.gossip.plan import gossip_algorithm  # imports torch

        gossip_algorithm(settings)
    return with_introducers(settings, home.membership)


def check_secrets(home: Home) -> Finding:
    """Check that only the owner can read the home, its key, tokens and secrets."""
    store = MembershipStore(home.membership)
    secrets = [home.directory / "identity.key", home.page_token, store.secret_file]
    secrets += [*store.keys_directory.glob("*.key"), *store.invitations_directory.glob("*.json")]
    open_to_others = [each for each in [home.directory, *secrets] if each.exists() and _is_open(each)]
    if not secrets[0].exists():
        return error(
            "secrets",
            f"{secrets[0]} is missing",
            "Restore the home from a backup: without its key the next start is another peer.",
        )
    if open_to_others:
        listed = ", ".join(map(str, open_to_others))
        return error(
            "secrets", f"other users have access to {listed}", f"Run: chmod -R go-rwx {home.directory}"
        )
    return ok("secrets", "only their owner can read the key, the tokens and the secrets")


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)


def check_disk(home: Home, settings: PeerSettings) -> Finding:
    """Write and synchronise a file in the home, and compare the free space with what the peer writes."""
    probe = temporary_beside(home.directory / "examination")
    began = time.monotonic()
    try:
        with probe.open("wb") as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        return error(
            "disk",
            f"{home.directory} cannot be written: {problem.strerror}",
            "Make room, mount the disk writable, or correct the owner: what the peer learns is not saved.",
        )
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
    seconds = time.monotonic() - began
    free = shutil.disk_usage(home.directory).free
    checkpoint = home.checkpoint.stat().st_size if home.checkpoint.exists() else 0
    kept = sum(each.stat().st_size for each in home.records.glob("*") if each.is_file())
    growth = max(0, int(1e6 * settings.records.keep_megabytes) - kept)
    if free < checkpoint + _SPARE_BYTES:
        return error(
            "disk",
            f"{_megabytes(free)} are free, and the next checkpoint needs {_megabytes(checkpoint)}",
            "Make room.",
        )
    if free < checkpoint + growth:
        return warning(
            "disk",
            f"{_megabytes(free)} are free, and records may still grow by {_megabytes(growth)}",
            "Make room, or lower records.keep_megabytes.",
        )
    if seconds > _SLOW_SECONDS:
        return warning(
            "disk",
            f"it took {seconds:.1f} s until a file of 64 KiB was safe",
            "Look at the load of the disk, or keep the home on a local one: every checkpoint waits for it.",
        )
    return ok("disk", f"{_megabytes(free)} are free; a file was safe after {1000 * seconds:.0f} ms")


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def check_membership(home: Home, settings: PeerSettings) -> Finding:
    """Check that there is a door, and how long the peer's certificate is still valid."""
    store = MembershipStore(home.membership)
    try:
        door = door_kind(settings, store)
        network = network_of(store) if door == "certificates" else None
    except GossipflError as problem:
        return error("membership", problem.what, problem.remedy or "See docs/membership.md.")
    if network is None:
        return ok("membership", f"the door is {door!r}")
    return _check_certificate(home, network)


def _check_certificate(home: Home, network: Mapping[str, Any]) -> Finding:
    certificate = network["certificate"]
    if certificate is None:
        return error(
            "membership",
            f"this peer has no certificate of network {network['name']!r}",
            f"Ask an issuer for an invitation: gossipfl network join INVITATION --home {home.directory}",
        )
    if certificate["peer"] in network["revoked"]:
        return error(
            "membership",
            "this peer's certificate was revoked",
            "It can only return with a new home (gossipfl peer init) and a new invitation.",
        )
    left, expires = certificate["expires"] - time.time(), moment(certificate["expires"])
    seen = f"{certificate['role']} of network {network['name']!r} until {expires}"
    if left < 0:
        return error(
            "membership",
            f"the certificate expired at {expires}",
            f"Ask an issuer for a new invitation: gossipfl network join INVITATION --home {home.directory}",
        )
    if left < _SOON_SECONDS:
        return warning(
            "membership",
            f"{seen}, and no issuer has renewed it yet",
            "Let the peer run until it has met an issuer: `gossipfl network members` there shows it.",
        )
    return ok("membership", seen)
