# ruff: noqa: E501 - lines of a table
"""``python -m tests.integration.security_table > docs/security-table.md`` writes the table anew."""

from gossipfl.network import NetworkLimits
from gossipfl.network.multistream import MOST_LINE_BYTES, MOST_PROPOSALS
from gossipfl.network.noise.handshake import MOST_MESSAGE_BYTES
from gossipfl.network.noise.upgrade import MOST_HANDSHAKE_BYTES
from gossipfl.network.service_streams import ServiceLimits
from gossipfl.network.yamux.headers import INITIAL_WINDOW
from gossipfl.settings import ExchangeSettings
from gossipfl.wire import PREAMBLE_BYTES, Limits

from . import door_inputs, service_inputs  # noqa: F401  (add their lines)
from .hostile_inputs import CASES


def bounds() -> list[tuple[str, str, str]]:
    """What somebody can make a peer spend: before and after a proof of identity, with the defaults."""
    network, wire, service = NetworkLimits(), Limits(), ServiceLimits()
    exchange = ExchangeSettings()
    streams = 2 * network.streams_per_connection
    return [
        ("a socket without identity", f"{network.dial_seconds:g} s", "time"),
        (
            "",
            f"{network.handshakes}, half of them for one address; the most crowded /24 or /48 gives way",
            "places",
        ),
        (
            "",
            f"{MOST_HANDSHAKE_BYTES:,} bytes read, {MOST_LINE_BYTES} a line, {MOST_MESSAGE_BYTES:,} a message",
            "memory",
        ),
        (
            "",
            f"{MOST_PROPOSALS} proposals; two X25519 products; one Ed25519 verification, of keys of 36 bytes",
            "CPU",
        ),
        (
            "an identity that is no member's",
            "one more Ed25519 verification, the first that fails; 14 bytes told",
            "CPU",
        ),
        ("connections", f"{network.connections}, {network.connections_per_address} an address", "places"),
        ("", f"{network.connections_per_peer} an identity; a quarter kept for peers of standing", "places"),
        (
            "",
            f"{network.silence_seconds:g} s of silence, {network.idle_seconds:g} s without a stream",
            "time",
        ),
        ("", f"{network.useless_frames_per_second:g} frames a second that carry nothing", "CPU"),
        ("", f"{network.small_frames_per_second:g} frames and records a second of less than 1 kB", "CPU"),
        ("streams of a connection", f"{streams}, half of them served at a time", "places"),
        ("", f"{INITIAL_WINDOW:,} bytes each that nobody reads", "memory"),
        ("", f"{network.idle_seconds:g} s between exchanges", "time"),
        (
            "exchanges",
            f"{network.inbound_exchanges}, {network.inbound_exchanges_per_peer} an identity",
            "places",
        ),
        (
            "",
            f"{PREAMBLE_BYTES} + {wire.header_bytes:,} bytes, then a body of exactly one's own size",
            "memory",
        ),
        (
            "",
            f"{exchange.incoming_bytes:,} bytes of models under way or not merged yet, but two models in any case; "
            f"in rounds {network.inbound_bytes:,} under way",
            "memory",
        ),
        (
            "",
            f"{exchange.incoming_bytes // 2:,} bytes of versions older than the newest that are read slowly, but one in any case",
            "memory",
        ),
        (
            "",
            "beginnings of models whose connection broke: one a sender, of 8 senders, for 120 s, in what is free of that",
            "memory",
        ),
        (
            "",
            f"{network.exchange_seconds:g} s, and no slower than {network.slowest_bytes_per_second:g} bytes a second",
            "time",
        ),
        (
            "",
            f"{network.frames_per_second:g} frames and {network.bytes_per_second:g} bytes a second and identity",
            "CPU",
        ),
        (
            "models and views",
            "four times as many a second and identity as this peer sends, at least 4",
            "CPU",
        ),
        ("", f"{wire.view_peers} entries a view, of which `view.exchanged` are verified", "CPU"),
        (
            "a service of libp2p",
            f"{service.streams} streams, {service.streams_per_peer} an identity; a quarter kept for peers of standing",
            "places",
        ),
        ("", f"{service.streams_per_second:g} streams a second and identity", "CPU"),
        (
            "",
            f"{service.bytes:,} bytes a stream; beyond {service.bytes_per_second:,.0f} a second and identity held back",
            "CPU",
        ),
        ("", f"{service.seconds:g} s a stream", "time"),
        (
            "addresses that others told",
            f"{network.dials_per_second:g} dials a second, {network.dials_per_address:g} at one address",
            "dials",
        ),
        ("", "names of a view that was asked for: 2 a period, on 4 places beside the exchanges", "dials"),
        ("", f"{network.resolve_seconds:g} s and one of 4 threads to resolve a name", "time"),
        ("lines of the log", "10 of a kind at once, then one in 5 s, of 300 characters from outside", "disk"),
        (
            "offences",
            f"{network.offences_before_ban}, then bans of {network.first_ban_seconds:g} to {network.longest_ban_seconds:g} s",
            "–",
        ),
    ]


def render() -> str:
    """The table, in Markdown."""
    lines = [
        "# What hostile inputs lead to",
        "",
        "Each line is carried out against a running peer by `tests/integration/test_hostile.py`. In every",
        "case the peer's model stays exactly as it was, its memory stays bounded, and it serves an honest",
        "peer right afterwards. Counters are in `gossipfl peer status --json`, under `network.refused`. A",
        "peer that commits offences again and again is banned, longer each time.",
        "",
        "| input | error | counter | consequence |",
        "|---|---|---|---|",
    ]
    for each in CASES:
        error = f"`{each.error.__name__}`" if each.error else "–"
        counter = f"`{each.counter}`" if each.error else "–"
        lines.append(f"| {each.what} | {error} | {counter} | {each.consequence} |")
    lines += [
        "",
        "## What others can make a peer spend",
        "",
        "The defaults of `gossipfl.network.NetworkLimits`, of `ServiceLimits` (identify and ping have tighter",
        "ones) and of `gossipfl.wire.Limits`, and what is fixed.",
        "",
        "| what | bound | of |",
        "|---|---|---|",
        *(f"| {what} | {bound} | {kind} |" for what, bound, kind in bounds()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(render(), end="")
