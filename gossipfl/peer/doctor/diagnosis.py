"""The whole examination of a peer from its home, whether it runs or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from gossipfl.errors import GossipflError, HomeError
from gossipfl.network import load_identity
from gossipfl.peer.control import request_examination
from gossipfl.peer.doctor.addresses import check_bootstrap, check_listening, check_ports_free, check_scope
from gossipfl.peer.doctor.examination import read_examination
from gossipfl.peer.doctor.files import check_disk, check_membership, check_secrets, check_settings
from gossipfl.peer.doctor.findings import Finding, error, ok, warning
from gossipfl.peer.doctor.machine import check_memory, check_page, check_versions
from gossipfl.peer.doctor.neighbours import (
    check_clock,
    check_links,
    check_reachability,
    check_translation,
)
from gossipfl.peer.gossip.discovery import peers_in
from gossipfl.peer.liveness import Liveness, liveness_of
from gossipfl.peer.page.health import HARMLESS
from gossipfl.peer.status import read_status
from gossipfl.peer.store.home import Home
from gossipfl.settings import PeerSettings

__all__ = ["diagnose"]

#: Neighbours have 20 s to dial back.
_EXAMINATION_SECONDS: Final = 45.0
_LOOK_SECONDS: Final = 0.1
_BEHIND_SECONDS: Final = 60.0

Values = Mapping[str, Any]


def diagnose(home: Home) -> list[Finding]:
    """Examine a peer.

    Raises
    ------
    HomeMissing, HomeError
        There is no peer, or its home cannot be read.
    """
    home.require()
    status = read_status(home.status) if home.status.exists() else None
    liveness = liveness_of(home, status)
    settings, finding = check_settings(home)
    findings = [_check_running(home, liveness), finding, check_secrets(home)]
    if settings is None:
        return findings
    findings.append(check_disk(home, settings))
    membership = check_membership(home, settings)
    if status is None or liveness.state in ("stopped", "starting"):
        return [*findings, membership, *_of_stopped(home, settings, liveness)]
    return [*findings, membership, *_of_running(home, settings, status)]


def _check_running(home: Home, liveness: Liveness) -> Finding:
    match liveness.state:
        case "running":
            return ok("peer", "running")
        case "starting":
            return warning("peer", "starting", "Try again when it runs: the network was not checked.")
        case "silent":
            return error("peer", "runs, but its status is old", liveness.reason or "See the peer's log.")
    return warning(
        "peer",
        "stopped: what only a running peer can tell was not checked",
        f"Start it: gossipfl peer run --home {home.directory}",
    )


def _of_stopped(home: Home, settings: PeerSettings, liveness: Liveness) -> list[Finding]:
    checkpoint = home.checkpoint.stat().st_size if home.checkpoint.exists() else None
    findings = [
        _check_own_clock(home),
        check_memory(checkpoint, process=None),
        check_versions(None, {}),
        check_page(settings, None, running=False),
        check_bootstrap(_first_asked(home, settings), connected=0),
    ]
    if liveness.state == "stopped":
        findings.append(check_ports_free(settings.network.listen))
    return findings


def _check_own_clock(home: Home) -> Finding:
    """Compare the clock with the number of the last start, which was taken from it."""
    try:
        last = int((home.directory / "incarnation").read_text(encoding="ascii")) / 1000
    except (OSError, ValueError):
        return ok("clock", "not compared: the peer never ran")
    behind = last - time.time()
    if behind > _BEHIND_SECONDS:
        remedy = "Let NTP keep the clock (`timedatectl set-ntp true`)."
        return error("clock", f"{behind:.0f} s behind that of the last start of this peer", remedy)
    return ok("clock", "not behind the last start; compared with neighbours' when the peer runs")


def _of_running(home: Home, settings: PeerSettings, status: Values) -> list[Finding]:
    peers = status["peers"]
    findings = [_check_permission(status), *_check_conditions(status)]
    try:
        examination = _examination(home)
    except HomeError as problem:
        findings.append(error("examination", problem.what, problem.remedy or "See the peer's log."))
        examination = None
    versions = {each["peer_id"]: each["version"] for each in peers if each["connected"]}
    if examination is None:
        findings += [check_scope(status["addresses"]), check_versions(None, versions)]
    else:
        findings += [
            check_scope(examination["announced"]),
            check_listening(examination["own"]),
            check_reachability(examination),
            check_translation(examination),
            check_clock(examination),
            check_versions(examination["version"], versions),
        ]
    row_bytes = None if examination is None else examination["row_bytes"]
    return [
        *findings,
        check_memory(row_bytes, process=status["process"]),
        check_page(settings, status["page"], running=True),
        check_bootstrap(_first_asked(home, settings), connected=status["connected"]),
        _check_connected(status),
        *check_links(peers, {} if examination is None else _bandwidths(examination)),
    ]


def _bandwidths(examination: Values) -> Values:
    """Return what was measured of links, by the peer at the other end."""
    return {each["peer_id"]: each["bandwidth"] for each in examination["neighbours"] if "bandwidth" in each}


def _first_asked(home: Home, settings: PeerSettings) -> list[str]:
    """Return the addresses of other peers that settings and their file name."""
    listed = list(settings.network.bootstrap)
    if settings.bootstrap.file is not None:
        path = home.directory / settings.bootstrap.file
        with suppress(OSError, UnicodeDecodeError):  # the peer itself warns of that
            found = peers_in(path.read_text(encoding="utf-8"), source=str(path))
            listed += [address for addresses in found.values() for address in addresses]
    try:
        own = load_identity(home.directory).peer_id
    except GossipflError:  # which `check_secrets` names
        own = ""
    return [each for each in listed if not own or not each.endswith(f"/p2p/{own}")]


def _check_connected(status: Values) -> Finding:
    seen = f"{status['neighbours']} known, {status['connected']} connected"
    if status["connected"]:
        return ok("neighbours", seen)
    return error("neighbours", seen, "See the findings on bootstrap and membership, and `gossipfl peer log`.")


def _check_permission(status: Values) -> Finding:
    """Say what the peer may do now, and which conditions of its policy hold."""
    conditions = (status.get("policy") or {}).get("conditions", ())
    held = "; ".join(f"{each['text']} ({'yes' if each['holds'] else 'no'})" for each in conditions)
    permission = status.get("permission") or {"trains": True, "merges": True}
    may = [verb for key, verb in (("trains", "train"), ("merges", "merge")) if permission[key]]
    seen = f"it may {' and '.join(may) or 'neither train nor merge'} now"
    return ok("policy", f"{seen}: {held}" if held else seen)


_REMEDIES: Final[Mapping[str, str]] = {
    "paused": "gossipfl peer resume",
    "policy": "Nothing: it goes on once the conditions hold. `gossipfl peer policy` shows them.",
    "readings": "Install what is missing, or leave the condition out of [policy]; docs/policies.md.",
    "copy": "Stop one of the two; if both machines are needed, give one a new home.",
    "restored": "Nothing.",
    "privacy": "Nothing: the budget is spent. Raise outgoing's epsilon only if the participants agree.",
    "quarantine": "`gossipfl peer status` says which neighbours, the records why.",
}


def _check_conditions(status: Values) -> list[Finding]:
    """Repeat what the peer itself reports."""
    make: dict[bool, Callable[[str, str, str], Finding]] = {True: warning, False: error}
    return [
        make[each["name"] in HARMLESS](
            f"condition {each['name']}",
            each["text"],
            _REMEDIES.get(each["name"], "See docs/operations.md, What is wrong with a peer."),
        )
        for each in status["conditions"]
    ]


def _examination(home: Home) -> dict[str, Any]:
    """Have the running peer make an examination, and wait for it.

    Raises
    ------
    HomeError
        It cannot be asked for, or does not come.
    """
    number = time.time_ns()
    request_examination(home.requests, number=number)
    deadline = time.monotonic() + _EXAMINATION_SECONDS
    while time.monotonic() < deadline and home.is_running():
        try:
            found = read_examination(home)
        except GossipflError:
            found = None
        if found is not None and found.get("number") == number:
            return found
        time.sleep(_LOOK_SECONDS)
    raise HomeError(
        "the peer made no examination",
        expected=f"one within {_EXAMINATION_SECONDS:.0f} s",
        remedy="It ended, has no time to, or is of an older version: look at its log and the machine's load.",
    )
