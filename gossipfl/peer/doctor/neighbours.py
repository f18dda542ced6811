"""Checks by what neighbours see: reachability, address translation, clocks, links."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gossipfl.network import Scope, parse_address, scope_of
from gossipfl.peer.doctor.findings import Finding, error, ok, warning

__all__ = ["check_clock", "check_links", "check_reachability", "check_translation"]

_CLOCK_WARNING_SECONDS: Final = 2.0
_CLOCK_ERROR_SECONDS: Final = 60.0
_SLOW_ROUND_TRIP_SECONDS: Final = 1.0
_FEWEST_FOR_MAJORITY: Final = 3
_SHOWN: Final = 16  # characters of a peer id

Values = Mapping[str, Any]


def check_reachability(examination: Values) -> Finding:
    """Say whether neighbours elsewhere can dial this peer at its ports."""
    elsewhere = [each for each in _who_tried(examination) if not _is_here(each["reached_at"], examination)]
    here = [each for each in _who_tried(examination) if each not in elsewhere]
    reached = [each for each in elsewhere if "reached" in each["ports"].values()]
    if reached:
        listed = sorted(
            {
                f"{each['host']} port {port}"
                for each in reached
                for port, how in each["ports"].items()
                if how == "reached"
            }
        )
        return ok(
            "reachability", f"{len(reached)} of {len(elsewhere)} neighbours reached {', '.join(listed)}"
        )
    if elsewhere:
        outcomes = sorted(
            {
                f"{each['host']} port {port} ({how})"
                for each in elsewhere
                for port, how in each["ports"].items()
            }
        )
        seen = f"none of {len(elsewhere)} neighbours could dial this peer: {', '.join(outcomes)}"
        if examination["relayed"]:
            return warning(
                "reachability", f"{seen}; others come through a relay", "Nothing, if that suffices."
            )
        return error(
            "reachability",
            seen,
            "Open the port in the firewall, or forward it in the router (and set network.announce); or name a "
            "relay in network.relay. Until then this peer learns only from those that it dials.",
        )
    if any("reached" in each["ports"].values() for each in here):
        return ok("reachability", "reached by neighbours on this machine; none elsewhere is connected")
    return warning(
        "reachability",
        "no neighbour could be asked to dial back",
        "Start others, or upgrade them, and try again.",
    )


def check_translation(examination: Values) -> Finding:
    """Say whether a router translates this peer's address, and whether the announced ones are those seen."""
    seen = sorted(
        {
            each["host"]
            for each in examination["neighbours"]
            if each.get("host") and not _is_here(each["host"], examination)
        }
    )
    if not seen:
        return ok("nat", "neighbours see this peer at an address of this machine")
    announced = {
        each.host
        for each in (parse_address(text, circuits=True) for text in examination["announced"])
        if each.relay is None
    }
    listed = f"a router translates: neighbours see this peer at {', '.join(seen)}"
    if len(seen) > 1 and all(scope_of(each) is Scope.GLOBAL for each in seen):
        return warning(
            "nat",
            f"{listed}, not at one address",
            "Such a router cannot be dialled: forward a port, or name a relay in network.relay.",
        )
    if examination["is_announced"] and not announced & set(seen) and not any(map(_is_name, announced)):
        return warning(
            "nat", f"{listed}, but it announces {', '.join(sorted(announced))}", "Correct network.announce."
        )
    return ok("nat", listed)


def check_clock(examination: Values) -> Finding:
    """Compare this clock with the neighbours'."""
    told = [each for each in examination["neighbours"] if "clock_offset" in each]
    offsets = {each["peer_id"]: each["clock_offset"] for each in told}
    if not offsets:
        return warning(
            "clock", "no neighbour told its time", "Let NTP keep the clock (`timedatectl`), and try again."
        )
    median = statistics.median(offsets.values())
    wrong = [
        each["peer_id"]
        for each in told
        if abs(each["clock_offset"]) > _CLOCK_WARNING_SECONDS + each["round_trip"] / 2
    ]
    if not wrong:
        return ok("clock", f"within {max(map(abs, offsets.values())):.2f} s of {len(offsets)} neighbours'")
    ntp = "Let NTP keep the clock (`timedatectl set-ntp true`)."
    if len(offsets) >= _FEWEST_FOR_MAJORITY and abs(median) <= _CLOCK_WARNING_SECONDS:
        listed = ", ".join(f"{peer[:_SHOWN]}… by {_signed(offsets[peer])}" for peer in sorted(wrong))
        return warning("clock", f"right, as most say, but these differ: {listed}", "Tell their operators.")
    direction = "behind" if median > 0 else "ahead of"
    seen = f"{abs(median):.1f} s {direction} that of {len(wrong)} of {len(offsets)} neighbours"
    if len(offsets) < _FEWEST_FOR_MAJORITY:
        ntp += " Or theirs is wrong: too few neighbours to tell."
    if abs(median) > _CLOCK_ERROR_SECONDS:
        consequence = (
            "Certificates may count as not yet valid or expired, and estimates of the network are off."
        )
        return error("clock", seen, f"{ntp} {consequence}")
    return warning("clock", seen, ntp)


def _signed(seconds: float) -> str:
    return f"{seconds:+.1f} s"


def check_links(peers: Sequence[Values], measured: Values) -> list[Finding]:
    """Describe the link to each connected peer: round trip, and bandwidth as rows or the doctor have measured it.

    Parameters
    ----------
    measured : mapping
        What the doctor's own measurements gave, by peer id.
    """
    findings = []
    for each in peers:
        if not each["connected"]:
            continue
        trip, name = each["round_trip"], f"link {each['peer_id'][:_SHOWN]}…"
        parts = ["round trip " + ("unknown" if trip is None else f"{1000 * trip:.1f} ms")]
        parts += _bandwidth(each, measured.get(each["peer_id"], {}))
        seen = ", ".join(parts)
        if each["failures"]:
            findings.append(
                warning(name, f"{seen}; the last {each['failures']} exchanges failed", "See the log for why.")
            )
        elif trip is not None and trip > _SLOW_ROUND_TRIP_SECONDS:
            findings.append(
                warning(
                    name,
                    seen,
                    "Something fills the link: cap this peer's share of it (network.upload_mbits, "
                    "network.download_mbits).",
                )
            )
        else:
            findings.append(ok(name, seen))
    return findings


def _bandwidth(peer: Values, measured: Values) -> list[str]:
    """Say what a link carries in each direction, and why that is not known where it is not."""
    parts = []
    for direction in ("upload", "download"):
        rate, own = peer.get(direction), measured.get(direction)
        if rate is not None:
            parts.append(f"{direction} {_mbits(rate)}")
        elif own is not None:
            least = "more than " if own["is_least"] else "about "
            parts.append(f"{direction} {least}{_mbits(own['bytes_per_second'])}")
    if not parts:
        why = measured.get("failure", "no row of more than 128 KiB has gone over it")
        parts.append(f"bandwidth not measured: {why}")
    return parts


def _mbits(bytes_per_second: float) -> str:
    return f"{8e-6 * bytes_per_second:.3g} Mbit/s"


def _who_tried(examination: Values) -> list[Values]:
    """Return the neighbours that tried to dial this peer."""
    return [
        each
        for each in examination["neighbours"]
        if any(how != "not tried" for how in each.get("ports", {}).values())
    ]


def _is_here(host: str, examination: Values) -> bool:
    return host in examination["interfaces"] or scope_of(host) <= Scope.LOOPBACK


def _is_name(host: str) -> bool:
    return not host.replace(".", "").isdigit() and ":" not in host
