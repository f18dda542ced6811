"""A peer's status in a terminal, and as a log line."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from gossipfl.moments import moment
from gossipfl.peer.loop_text import loop_lines

__all__ = ["end_line", "peers_table", "status_heading", "status_line", "status_table"]


def status_heading(values: Mapping[str, Any]) -> str:
    """A peer's id and addresses, each on an unbroken line of its own, for copying."""
    return "\n".join([f"peer {values['peer_id']}", *(f"listening at {each}" for each in values["addresses"])])


def conditions_now(values: Mapping[str, Any], home: Path) -> list[dict[str, Any]]:
    """Give the conditions that a status names, and those that kept the peer from writing one."""
    conditions = list(values.get("conditions", []))
    quarantined = (values.get("gate") or {}).get("quarantined", [])
    now = values["updated"]
    if quarantined:
        text = f"the gate takes nothing from {len(quarantined)} neighbours"
        conditions.append({"name": "quarantine", "since": now, "text": text})
    if "disk" not in {each["name"] for each in conditions} and not shutil.disk_usage(home).free:
        text = "the disk is full, and nothing that is learned is saved: make room"
        conditions.append({"name": "disk", "since": now, "text": text})
    return conditions


def status_table(values: Mapping[str, Any]) -> Table:
    """Lay out a status (see `gossipfl.peer.status.PeerStatus.to_dict`) as a table of two columns."""
    network = values["network"]
    ago = max(0, round(time.time() - values["updated"]))
    state = values.get("state", "running")
    conditions = values.get("conditions", [])
    if state == "running" and conditions:
        state = f"{state}, but: {', '.join(each['name'] for each in conditions)}"
    if values.get("reason"):
        state = f"running, but its status is old: {values['reason']}"
    table = Table(show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    if state == "starting":
        table.add_row("state", f"starting; what follows is of an earlier start, {ago} s ago")
    else:
        table.add_row("state", f"{state}, started {moment(values['started'])}, updated {ago} s ago")
    for each in conditions:
        table.add_row(each["name"], f"{each['text']} (since {moment(each['since'])})")
    table.add_row("task", values["task"])
    table.add_row(
        "age", f"{values['age']} (saved at {values['saved_age']}); {values['step']} steps done here"
    )
    before = {
        f"{name} before fine-tuning": value for name, value in (values.get("shared_metrics") or {}).items()
    }
    for name, value in {**values["metrics"], **before}.items():
        table.add_row(name, _metric(value))
    for each in (values.get("policy") or {}).get("conditions", ()):
        table.add_row("policy", escape(f"{'✓' if each['holds'] else '✗'} {each['text']}"))
    if values.get("divergences"):
        table.add_row("diverged", f"{values['divergences']} ×, and went back to the last good model")
    parts = {"gate": _gate_rows, "flow": _flow_rows, "rounds": _rounds_rows, "membership": _membership_rows}
    parts["keyboard"] = lambda told: _keyboard_rows(told, values) if told else []
    for part, rows_of in parts.items():
        for name, value in rows_of(values.get(part)):
            table.add_row(name, value)
    table.add_row("neighbours", f"{values['neighbours']} known, {values['connected']} connected")
    table.add_row("sent", f"{network['messages_sent']} messages, {decimal(network['bytes_sent'])}")
    table.add_row(
        "received", f"{network['messages_received']} messages, {decimal(network['bytes_received'])}"
    )
    for name in ("failed", "refused"):
        if network[name]:
            table.add_row(name, ", ".join(f"{count} × {kind}" for kind, count in network[name].items()))
    return table


def _keyboard_rows(keyboard: Mapping[str, Any], values: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = loop_lines({**keyboard, **values["permission"]})
    if not values["metrics"]:
        much = "too little" if keyboard.get("messages") else "nothing"
        rows.insert(0, ("measured", f"not yet: {much} was typed"))
    return rows


def peers_table(peers: Sequence[Mapping[str, Any]]) -> Table:
    """Lay out the peers of a status (see `gossipfl.peer.neighbours.Neighbours.to_values`)."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    titles = (
        "peer",
        "address",
        "state",
        "model age",
        "gave",
        "last success",
        "round trip",
        "sent",
        "received",
    )
    for title in (*titles, "upload", "download", "codec", "version"):
        table.add_column(title, no_wrap=True)
    for each in peers:
        addresses = [address.partition("/p2p/")[0] for address in each["addresses"]]
        success, round_trip, age = each["last_success"], each["round_trip"], each["model_age"]
        table.add_row(
            each["peer_id"],
            (addresses or [each["reached_at"] or "-"])[0],
            _peer_state(each),
            "-" if age is None else str(age),
            _effect(each.get("effect")),
            "-" if success is None else f"{max(0, round(time.time() - success))} s ago",
            "-" if round_trip is None else f"{1000 * round_trip:.1f} ms",
            decimal(each["bytes_sent"]),
            decimal(each["bytes_received"]),
            _throughput(each.get("upload")),
            _throughput(each.get("download")),
            each.get("codec") or "-",
            escape(each["version"] or "-"),
        )
    return table


def _effect(effect: Mapping[str, Any] | None) -> str:
    """Say how much a peer's models lowered the loss at a merge, on average, with twice its standard error."""
    if effect is None:
        return "-"
    error = effect["standard_error"]
    return f"{effect['mean']:+.2g}" + ("" if error is None else f" ± {2 * error:.2g}")


def _throughput(bytes_per_second: float | None) -> str:
    return "-" if bytes_per_second is None else f"{8e-6 * bytes_per_second:.3g} Mbit/s"


def _peer_state(peer: Mapping[str, Any]) -> str:
    state = "connected" if peer["connected"] else "known"
    if peer["failures"]:
        state = f"{peer['failures']} failures"
    if not peer["neighbour"]:
        state = f"{state}, not in the view"
    return f"{state}, quarantined" if peer["quarantined"] else state


def status_line(values: Mapping[str, Any]) -> str:
    """Say the same in one line."""
    network = values["network"]
    metrics = " ".join(f"{name} {_metric(value)}" for name, value in values["metrics"].items())
    conditions = [each["name"] for each in values.get("conditions", [])]
    trouble = sum(network["failed"].values()) + sum(network["refused"].values())
    return (
        f"{_round(values.get('rounds'))}age {values['age']} {metrics} "
        f"neighbours {values['connected']}/{values['neighbours']} "
        f"sent {network['messages_sent']} received {network['messages_received']}"
        f"{f' failed or refused {trouble}' if trouble else ''}"
        f"{''.join(f' [{each}]' for each in conditions)}"
    )


def end_line(values: Mapping[str, Any], checkpoint: Path, *, stop_after: int | None, reason: str) -> str:
    """Say how far a peer came that has stopped, how good its model was, and where it is kept."""
    rounds = values.get("rounds")
    metrics = "".join(f", {name} {_metric(value)}" for name, value in values["metrics"].items())
    if rounds is not None:
        done = stop_after is not None and rounds["round"] >= stop_after
        end = f"{'done' if done else f'stopped{reason}'}: {rounds['round']} rounds{metrics}"
    else:
        end = f"stopped{reason}: age {values['age']}{metrics}"
    saved = "the same" if values["saved_age"] == values["age"] else f"age {values['saved_age']}"
    return f"{end}; {saved} is kept in {checkpoint}"


def _gate_rows(gate: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Describe what the gate kept out, as rows of name and value; none if it let everything in."""
    if gate is None:
        return []
    kept = {name: count for name, count in gate["decisions"].items() if name != "plausible"}
    rows = []
    if kept:
        rows.append(("gate", ", ".join(f"{count} {name}" for name, count in sorted(kept.items()))))
    if gate["quarantined"]:
        rows.append(("quarantined", ", ".join(f"{each[:16]}…" for each in gate["quarantined"])))
    return rows


def _flow_rows(flow: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Describe the token accounts, in one row of name and value; none without any."""
    if flow is None:
        return []
    tokens = ", ".join(map(str, flow["tokens"]))
    where = "" if len(flow["tokens"]) == 1 else ", in the accounts of the parts"
    return [("tokens", f"{tokens} of at most {flow['capacity']} ({flow['kind']}){where}")]


def _membership_rows(membership: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Describe the door and whom it did not open to, in rows of a name and a value."""
    if not membership:
        return []
    rows = []
    if "network" in membership:
        until = moment(membership["expires"])
        network = f"{membership['name']}, {membership['network'][:16]}"
        rows.append(
            ("network", f"{network}: {membership['role']} until {until}, {membership['revoked']} revoked")
        )
    elif membership["door"] != "open":
        rows.append(("door", membership["door"]))
    return rows + [
        ("turned away", f"{each['peer'][:16]}… at {each['address']}, {each['times']} ×: {each['why']}")
        for each in membership["turned_away"][:3]
    ]


def _rounds_rows(rounds: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Describe the progress of rounds, as rows of name and value; none for a peer that gossips."""
    if rounds is None:
        return []
    where = "gathering members before round" if rounds["gathering"] else "round"
    rows = [
        ("rounds", f"{rounds['algorithm']} over {rounds['topology']}, digest {rounds['agreement'][:16]}"),
        ("", f"{where} {rounds['round']}, as number {rounds['number']} of {rounds['members']}"),
    ]
    if rounds["missing"]:
        rows.append(("missing", f"rows of {_numbers(rounds['missing'])} in the round under way"))
    if rounds["absent"]:
        rows.append(("absent", f"{_numbers(rounds['absent'])}: not waited for until heard again"))
    if sums := rounds.get("sums"):
        rows.append(("masked sums", f"{sums['done']} had, {sums['failed']} not"))
        if sums.get("excluded"):
            rows.append(("left out", f"{_numbers(sums['excluded'])} of masked sums, for wrong shares"))
    if rounds["late"]:
        rows.append(("late", f"{rounds['late']} rows arrived after their exchange was over"))
    return rows


def _round(rounds: Mapping[str, Any] | None) -> str:
    if rounds is None:
        return ""
    missing = f" without {_numbers(rounds['missing'])}" if rounds["missing"] else ""
    return f"{'gathering for ' if rounds['gathering'] else ''}round {rounds['round']}{missing} "


def _numbers(numbers: list[int]) -> str:
    return f"member{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _metric(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
