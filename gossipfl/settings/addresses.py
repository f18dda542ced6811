"""Multiaddresses of peers over TCP, and peer ids: parsed strictly, whatever their source.

``/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...``. An accepted address can be dialled, or fails as a dial does.

References
----------
"Multiaddr", https://github.com/multiformats/multiaddr; names: RFC 1035, section 2.3.1, and RFC 5890, section 2.3;
libp2p, "Peer Ids and Keys", https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import idna

from gossipfl.errors import InvalidAddress

__all__ = [
    "PeerAddress",
    "Scope",
    "parse_address",
    "peer_id_of",
    "public_key_of",
    "scope_of",
]

_FORM: Final = "/ip4/HOST/tcp/PORT[/p2p/PEER_ID] (or ip6, dns, dns4, dns6)"
_CIRCUIT: Final = re.compile(r"(?P<relay>.{1,400})/p2p-circuit(?:/p2p/(?P<peer_id>[^/]{1,100}))?")
_PARTS: Final = re.compile(
    r"/(?P<family>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]{1,253})/tcp/(?P<port>[^/]{1,10})"
    r"(?:/p2p/(?P<peer_id>[^/]{1,100}))?"
)
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}")
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# What resolvers take for an IPv4 address in one of its old spellings ("127.1", "0x7f000001").
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LARGEST_PORT: Final = 65535
_LONGEST_NAME: Final = 253
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Multihash "identity" of 36 bytes: the protobuf of an Ed25519 key, whose own 32 bytes follow.
_ED25519_ID: Final = bytes.fromhex("0024 0801 1220")
_ID_LENGTH: Final = len(_ED25519_ID) + 32

#: The same few are parsed again with every view.
_REMEMBERED: Final = 1024


class Scope(enum.IntEnum):
    """How far an IP address reaches, from narrow to wide."""

    NOWHERE = 0  # unspecified, multicast, broadcast, reserved
    LOOPBACK = 1
    LINK = 2
    PRIVATE = 3
    GLOBAL = 4


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a peer listens, and optionally its identity.

    Parameters
    ----------
    family : str
        ``ip4``, ``ip6``, ``dns``, ``dns4`` or ``dns6``.
    host : str
    port : int
        0, which lets the operating system choose, makes sense only for listening.
    peer_id : str or None
    relay : str or None
        The peer id of the relay through which the peer is reached: family, host and port are then the relay's.
    """

    family: str
    host: str
    port: int
    peer_id: str | None = None
    relay: str | None = None

    def __str__(self) -> str:
        circuit = f"/p2p/{self.relay}/p2p-circuit" if self.relay else ""
        suffix = f"/p2p/{self.peer_id}" if self.peer_id else ""
        return f"/{self.family}/{self.host}/tcp/{self.port}{circuit}{suffix}"

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, to be resolved."""
        return self.family.startswith("dns")

    @property
    def scope(self) -> Scope:
        """The scope of the address; a name's is known once resolved, and taken as the widest until then."""
        return Scope.GLOBAL if self.is_name else scope_of(self.host)


@lru_cache(maxsize=_REMEMBERED)
def parse_address(text: str, *, smallest_port: int = 0, circuits: bool = False) -> PeerAddress:
    """Read a multiaddress over TCP.

    IPv6 has no zone, which would be another machine's business. Names consist of letters, digits and hyphens
    in labels of 1 to 63, 253 characters in all; international ones are written as A-labels (``xn--...``).

    Parameters
    ----------
    text : str
    smallest_port : int, optional
        0 where the operating system may choose, and 1 where others must be told.
    circuits : bool, optional
        Whether the address may lead through one relay: ``RELAY_ADDRESS/p2p/RELAY_ID/p2p-circuit[/p2p/PEER_ID]``.

    Raises
    ------
    InvalidAddress
        It is not valid.
    """
    circuit = _CIRCUIT.fullmatch(text) if circuits else None
    if circuit is not None:
        through = parse_address(circuit["relay"], smallest_port=1)
        if through.peer_id is None:
            raise InvalidAddress(
                f"{text[:300]!a} does not name its relay", expected="/p2p/PEER_ID before /p2p-circuit"
            )
        if circuit["peer_id"] is not None:
            public_key_of(circuit["peer_id"])
        return replace(through, peer_id=circuit["peer_id"], relay=through.peer_id)
    match = _PARTS.fullmatch(text)
    if match is None:
        raise InvalidAddress(f"{text[:300]!a} is not an address of a peer", expected=_FORM)
    family, host, port, peer_id = match["family"], match["host"], match["port"], match["peer_id"]
    if family.startswith("dns"):
        wrong = _fault_of_name(host)
    else:
        wrong = None if _is_ip(host, version=int(family[-1])) else f"{host!a} is not an address of {family}"
    if not _PORT.fullmatch(port) or not smallest_port <= int(port) <= _LARGEST_PORT:
        wrong = f"the port must be {smallest_port} … {_LARGEST_PORT}, not {port!a}"
    if wrong is not None:
        raise InvalidAddress(f"{text[:300]!a} is not an address of a peer: {wrong}", expected=_FORM)
    if peer_id is not None:
        public_key_of(peer_id)
    return PeerAddress(family, host, int(port), peer_id)


def peer_id_of(public_key: bytes) -> str:
    """Return the peer id of an Ed25519 public key, 32 bytes."""
    number, text = int.from_bytes(_ED25519_ID + public_key), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return _BASE58[0] + text  # the multihash begins with a byte of zero


@lru_cache(maxsize=_REMEMBERED)
def public_key_of(text: str) -> bytes:
    """Return the public key, 32 bytes, that a peer id stands for.

    Raises
    ------
    InvalidAddress
        The text is not a peer id of an Ed25519 key.
    """
    decoded = _base58_bytes(text) if len(text) <= 100 else b""
    if len(decoded) != _ID_LENGTH or not decoded.startswith(_ED25519_ID):
        raise InvalidAddress(
            f"{text[:100]!a} is not a peer id",
            expected="that of an Ed25519 key, 12D3KooW…",
            remedy="`gossipfl peer init` and `gossipfl peer status` print it.",
        )
    return decoded[len(_ED25519_ID) :]


@lru_cache(maxsize=_REMEMBERED)
def scope_of(host: str) -> Scope:
    """Return the scope of an IP address. An IPv6 address that maps an IPv4 one has the scope of that."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return scope_of(str(embedded))
    if address.is_loopback:
        return Scope.LOOPBACK
    if address.is_unspecified or address.is_multicast or (address.version == 4 and address.is_reserved):
        return Scope.NOWHERE
    if address.is_link_local:
        return Scope.LINK
    return Scope.GLOBAL if address.is_global else Scope.PRIVATE


def _is_ip(text: str, *, version: int) -> bool:
    try:
        return "%" not in text and ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _fault_of_name(name: str) -> str | None:
    labels = name.split(".")
    if len(name) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        return f"{name!a} is not a name of letters, digits and hyphens"
    if _NUMBER.fullmatch(labels[-1]):
        return f"{name!a} is a number, and no name"
    for label in labels:
        if label[2:4] == "--":  # reserved for encodings, of which there is one
            try:
                idna.ulabel(label.lower())
            except idna.IDNAError:
                return f"{label!a} is not an A-label"
    return None


def _base58_bytes(text: str) -> bytes:
    number = 0
    for character in text:
        digit = _BASE58.find(character)
        if digit < 0:
            return b""
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(_BASE58[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)
