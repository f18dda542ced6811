"""Binary multiaddresses, as identify uses them.

References
----------
"Multiaddr", https://github.com/multiformats/multiaddr; its table of codes,
https://github.com/multiformats/multicodec/blob/master/table.csv
"""

from __future__ import annotations

import ipaddress
from typing import Final

from gossipfl.errors import InvalidAddress, MalformedFrame
from gossipfl.network.addresses import PeerAddress, parse_address
from gossipfl.network.protobuf import read_varint, varint

__all__ = ["read_multiaddress", "write_multiaddress"]

_TCP: Final = 6
_CODES: Final = {"ip4": 4, "ip6": 41, "dns": 53, "dns4": 54, "dns6": 55}
_FAMILIES: Final = {code: family for family, code in _CODES.items()}
_IP_BYTES: Final = {"ip4": 4, "ip6": 16}
_PORT_BYTES: Final = 2


def write_multiaddress(address: PeerAddress) -> bytes:
    """Encode an address, without a peer id."""
    if address.is_name:
        host = varint(len(address.host)) + address.host.encode()
    else:
        host = ipaddress.ip_address(address.host).packed
    return varint(_CODES[address.family]) + host + varint(_TCP) + address.port.to_bytes(_PORT_BYTES)


def read_multiaddress(data: bytes) -> PeerAddress | None:
    """Decode the TCP address at the start of `data`, ignoring what follows; None if there is none."""
    try:
        code, position = read_varint(data, 0)
        family = _FAMILIES[code]
        size = _IP_BYTES.get(family)
        if size is None:
            size, position = read_varint(data, position)
        host, position = data[position : position + size], position + size
        transport, position = read_varint(data, position)
        port = data[position : position + _PORT_BYTES]
        if len(host) != size or transport != _TCP or len(port) != _PORT_BYTES:
            return None
        text = str(ipaddress.ip_address(host)) if family in _IP_BYTES else host.decode("ascii")
        return parse_address(f"/{family}/{text}/tcp/{int.from_bytes(port)}")
    except (KeyError, UnicodeDecodeError, MalformedFrame, InvalidAddress):
        return None
