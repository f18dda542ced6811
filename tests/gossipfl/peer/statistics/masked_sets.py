"""Masked sets of statements of several members, and their gossip."""

import random

from gossipfl.errors import NotAMember
from gossipfl.peer.statistics.collection import Record

NETWORK = bytes(range(32))


def admits(keys):
    """A rule by which those with these keys are members."""

    def admit(key, certificate):
        if key not in keys:
            raise NotAMember("not on the roster")

    return admit


def masked_sets(kind, schema, identities, owns):
    """Each member's set of a kind, before anybody told anything; ``owns`` are their own summaries."""
    keys = [each.public_key for each in identities]
    return [
        kind(
            schema,
            NETWORK,
            own=own,
            key=identity.public_key,
            roster=keys,
            sign=identity.sign,
            admit=admits(keys),
        )
        for identity, own in zip(identities, owns, strict=True)
    ]


def spread(sets, *, seed=0):
    """Gossip in a random order until nothing changes; return all that was said."""
    order, said, sequences = random.Random(seed), [], [1] * len(sets)

    def tell(which):
        data = sets[which].statement(sequences[which])
        said.append(data)
        sets[which].add(Record(data, b""))
        sequences[which] += 1

    for which in range(len(sets)):
        tell(which)
    changed = True
    while changed:
        changed = False
        pairs = [(a, b) for a in range(len(sets)) for b in range(len(sets)) if a != b]
        order.shuffle(pairs)
        for a, b in pairs:
            for record in sets[a].beyond(sets[b].places):
                changed |= sets[b].add(record)
            if sets[b].is_outdated:
                tell(b)
                changed = True
    return said
