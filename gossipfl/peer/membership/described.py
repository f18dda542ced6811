"""Description of a network as plain values, for people and programs."""

from __future__ import annotations

import hashlib
from typing import Any

from gossipfl.membership import Certificate
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import peer_id_of

__all__ = ["network_of"]


def network_of(store: MembershipStore) -> dict[str, Any]:
    """Describe the network that a peer belongs to, and its own certificate.

    Raises
    ------
    MembershipError
        The peer belongs to no network.
    """
    authority = store.authority()
    charter = authority.charter
    body = store.certificate().body if store.has_certificate() else None
    own = body if isinstance(body, Certificate) else None
    return {
        "network": authority.id.hex(),
        "name": authority.network.name,
        "threshold": authority.keys.threshold,
        "keys": [each.hex() for each in authority.keys.keys],
        "rotations": authority.epoch,
        "certificate": None
        if own is None
        else {
            "peer": peer_id_of(own.subject),
            "role": own.role.name.lower(),
            "not_before": own.not_before,
            "expires": own.expires,
            "serial": own.serial.hex(),
        },
        "charter": None
        if charter is None
        else {
            "number": charter.number,
            "digest": hashlib.sha256(charter.to_bytes()).hexdigest(),
            "fields": dict(charter.fields),
        },
        "revoked": sorted(peer_id_of(each) for each in authority.revoked),
    }
