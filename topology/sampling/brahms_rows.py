"""Choices among names that Brahms peers make, for many peers at once; row i of every array is one peer's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topology.sampling.brahms import COUNTED, HEARD
from topology.sampling.packed import EMPTY, Views, are_among, first_of_each, packed
from topology.sampling.ranks import Keys, ranks, salted
from topology.sampling.tally import MOST

__all__ = ["counting_keys", "in_order", "names_to_ask", "salted_keys", "sampled"]

_LAST = np.uint64(2**64 - 1)


def in_order(values: Views, period: Keys, salt: int, *, width: int) -> Views:
    """The first distinct entries of each row in the order of their ranks under the salted key of the period."""
    keys = np.where(first_of_each(values), ranks(values, salted_keys(period, salt)[:, None]), _LAST)
    order = np.argsort(keys, axis=1, kind="stable")
    known = np.take_along_axis(keys, order, axis=1) < _LAST
    return packed(np.take_along_axis(values, order, axis=1), known, width)


def salted_keys(period: Keys, salt: int) -> Keys:
    """Keys of the orders of one purpose (`topology.sampling.brahms.KEPT` and the like) in a period."""
    return period + np.uint64(salted(0, salt))


def counting_keys(keys: Keys) -> Keys:
    """Keys of the tallies, from those of the samplers."""
    return salted_keys(keys[:, 0], COUNTED)


def sampled(held: Views, shown: Views, keys: Keys) -> Views:
    """What samplers hold once they were shown these names: of all, the one that ranks lowest."""
    rows = np.arange(len(held))[:, None]
    ranked = _ranked(shown, keys)
    best = np.argmin(ranked, axis=2)
    lowest = np.take_along_axis(ranked, best[:, :, None], axis=2)[:, :, 0]
    return np.where(lowest < _held_ranks(held, keys), shown[rows, best], held).astype(np.int32)


def _ranked(values: Views, keys: Keys) -> Keys:
    """Ranks of entries in each sampler: uint64 [rows, samples, values]."""
    result: Keys = np.where(values[:, None, :] >= 0, ranks(values[:, None, :], keys[:, :, None]), _LAST)
    return result


def _held_ranks(held: Views, keys: Keys) -> Keys:
    result: Keys = np.where(held >= 0, ranks(held, keys), _LAST)
    return result


def names_to_ask(
    heard: NDArray[np.int32], known: Views, period: Keys, counts: NDArray[np.int64], *, width: int
) -> Views:
    """The unknown names that came least often; among equals, by turns of their tellers, in random order."""
    names, counts = heard.reshape(len(heard), -1), counts.reshape(len(heard), -1)
    _, tellers, told = heard.shape
    unknown = (names >= 0) & ~are_among(names, known)
    keys = np.where(unknown, ranks(names, salted_keys(period, HEARD)[:, None]), _LAST)
    turns = _turns(keys.reshape(heard.shape)).reshape(names.shape)
    bits = (2 * MOST * told + told).bit_length()
    order = ((counts * told + turns).astype(np.uint64) << np.uint64(64 - bits)) | (keys >> np.uint64(bits))
    order = np.where(unknown, order, _LAST)
    most = min(width * tellers, names.shape[1])  # each name is told by every teller at most
    first = np.argpartition(order, most - 1, axis=1)[:, :most]
    order = np.take_along_axis(order, first, axis=1)
    first = np.take_along_axis(first, np.argsort(order, axis=1, kind="stable"), axis=1)
    found = np.where(np.sort(order, axis=1) < _LAST, np.take_along_axis(names, first, axis=1), EMPTY)
    return packed(found, first_of_each(found), width)


def _turns(keys: Keys) -> NDArray[np.int64]:
    """Position of each name among the distinct ones of its teller, by rank: int64, of the shape of the keys."""
    order = np.argsort(keys, axis=2, kind="stable")
    ordered = np.take_along_axis(keys, order, axis=2)
    distinct = np.ones(keys.shape, dtype=np.int64)
    distinct[:, :, 1:] = ordered[:, :, 1:] != ordered[:, :, :-1]
    turns = np.empty(keys.shape, dtype=np.int64)
    np.put_along_axis(turns, order, np.cumsum(distinct, axis=2) - 1, axis=2)
    return turns
