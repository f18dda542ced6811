"""Networks, keys and certificates for tests."""

import hashlib
import time

from gossipfl.membership import (
    Authority,
    Certificate,
    Charter,
    KeySet,
    Network,
    Revocation,
    Role,
    Rotation,
    Session,
    Signed,
)
from gossipfl.network import Identity

NOW = 1_800_000_000
YEAR = 365 * 86_400


def key(name) -> Identity:
    """A key of this name, always the same."""
    return Identity(hashlib.sha256(f"key {name}".encode()).digest())


KEYS = sorted((key(number) for number in range(5)), key=lambda each: each.public_key)


def key_set(*keys, threshold=1):
    return KeySet(threshold, tuple(sorted(each.public_key for each in keys)))


def network(*keys, threshold=1, name="test"):
    return Network(name=name, nonce=bytes(16), keys=key_set(*(keys or KEYS[:1]), threshold=threshold))


def certificate(
    of, subject, *, keys=KEYS[:1], issuer=None, role=Role.MEMBER, not_before=0, expires=None, serial=0
):
    """A certificate for an identity, signed by network keys, or by an ``(identity, certificate)`` that issues."""
    body = Certificate(
        network=of.id,
        subject=subject.public_key,
        role=role,
        not_before=not_before,
        expires=int(time.time()) + YEAR if expires is None else expires,
        serial=serial.to_bytes(16, "big"),
    )
    if issuer is not None:
        return Signed(body=body, issuer=issuer[1]).signed_by([issuer[0]])
    return Signed(body=body).signed_by(keys)


def revocation(of, subject, *, keys=KEYS[:1], issuer=None, at=NOW):
    body = Revocation(network=of.id, subject=subject.public_key, at=at)
    if issuer is not None:
        return Signed(body=body, issuer=issuer[1]).signed_by([issuer[0]])
    return Signed(body=body).signed_by(keys)


def rotation(of, new, *, keys=KEYS[:1], number=1, previous_until=0):
    body = Rotation(network=of.id, number=number, previous_until=previous_until, keys=new)
    return Signed(body=body).signed_by(keys)


def rotations(of, count, *, keys_each=1, previous_until=2**40):
    """So many rotations in a row, and the last keys."""
    keys, made = KEYS[:1], []
    for number in range(1, count + 1):
        new = [key(f"rotation {number} {place}") for place in range(keys_each)]
        keys_of_new = key_set(*new, threshold=keys_each)
        made.append(rotation(of, keys_of_new, keys=keys, number=number, previous_until=previous_until))
        keys = new
    return made, keys


def charter(of, fields, *, keys=KEYS[:1], number=1):
    body = Charter(network=of.id, number=number, fields=tuple(sorted(fields.items())))
    return Signed(body=body).signed_by(keys)


def authority(of, *statements, now=NOW):
    own = Authority(of)
    for each in statements:
        own.learn(each, now=now)
    return own


def session(own, other, *, is_initiator=True, binding=b"b" * 32, now=NOW):
    return Session(own=own.peer_id, other=other.peer_id, is_initiator=is_initiator, binding=binding, now=now)
