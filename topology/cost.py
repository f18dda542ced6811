"""The cost of a round: messages, bytes, and seconds over links of known bandwidth and latency.

The model of time: all nodes start a round at once. A node sends its messages one after another over its own
uplink, the farthest receiver first, which by Jackson's rule makes the last of them arrive as early as any
order can. A message arrives its link's latency after it has left. Where a downlink is given, what arrives
at a node shares that too. The round lasts until the last message is in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from topology.bounds import check_at_least
from topology.errors import InvalidParameter
from topology.graphs.topology import Topology

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from topology.sequences import MixingSequence

__all__ = ["RoundCost", "SequenceCost", "latency_from_round_trips", "round_cost", "sequence_cost"]

_SAMPLED_ROUNDS = 32

_Floats: TypeAlias = NDArray[np.float64]
_Indices: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCost:
    """Cost of one round.

    Attributes
    ----------
    messages : int
        Models sent, over all nodes.
    bytes : int
        Their size.
    max_degree, mean_degree : int, float
        Models the busiest node, and the average node, sends.
    seconds : float
        From the start of the round until the last message is in.
    node_seconds : float64 [n]
        The same for the last message that each node receives; 0 if it receives none.
    """

    messages: int
    bytes: int
    max_degree: int
    mean_degree: float
    seconds: float
    node_seconds: _Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceCost:
    """Cost of the rounds of a sequence, averaged over them.

    Attributes
    ----------
    rounds : int
        Rounds considered: a period, or several if the sequence is random.
    messages, bytes, seconds : float
        Mean of a round.
    max_degree : int
        Models the busiest node sends in the busiest round.
    mean_degree : float
        Models a node sends in a round, on average.
    longest_seconds : float
        The slowest round.
    """

    rounds: int
    messages: float
    bytes: float
    max_degree: int
    mean_degree: float
    seconds: float
    longest_seconds: float


def round_cost(
    mixing: csr_array | Topology,
    *,
    message_bytes: int,
    bandwidth: ArrayLike,
    latency: ArrayLike = 0.0,
    downlink: ArrayLike | None = None,
) -> RoundCost:
    """Cost of the round in which everybody sends to all neighbours.

    Parameters
    ----------
    mixing : csr_array [n, n] or Topology
        A mixing matrix, whose entry (i, j) ≠ 0 means that j sends to i; or a graph, along whose edges nodes send.
    message_bytes : int
        Size of a model on the wire.
    bandwidth : float, [n] or [n, n]
        Bits per second: of every uplink, of each node's, or from node i to node j (a node still sends one
        message after another).
    latency : float, [n] or [n, n]
        Latency in seconds: of every link, of each node's access (paid at both ends), or from i to j.
    downlink : float or [n], optional
        Downlink in bits per second; without it only uplinks and latency count.

    Raises
    ------
    InvalidParameter
        If a quantity is negative, not a number, zero bandwidth, or of another shape.
    """
    senders, receivers, n = _messages(mixing)
    if message_bytes < 0:
        raise InvalidParameter("the size of a message is negative", expected="bytes ≥ 0", got=message_bytes)
    bits = 8.0 * message_bytes
    rate = _bandwidth("bandwidth", bandwidth, senders, receivers, n)
    delay = _latency(latency, senders, receivers, n)
    left = _serialised(senders, bits / rate, delay)
    arrived = left + delay
    if downlink is not None:
        if np.ndim(downlink) > 1:
            raise InvalidParameter("a downlink is a node's own", expected="a number or shape [n]")
        entering = bits / _bandwidth("downlink", downlink, receivers, senders, n)
        arrived = _shared(receivers, arrived, bits / rate, entering, n)
    node_seconds = np.zeros(n)
    np.maximum.at(node_seconds, receivers, arrived)
    degrees = np.bincount(senders, minlength=n)
    return RoundCost(
        messages=len(senders),
        bytes=len(senders) * int(message_bytes),
        max_degree=int(degrees.max(initial=0)),
        mean_degree=float(degrees.mean()) if n else 0.0,
        seconds=float(node_seconds.max(initial=0.0)),
        node_seconds=node_seconds,
    )


def sequence_cost(
    sequence: MixingSequence,
    *,
    message_bytes: int,
    bandwidth: ArrayLike,
    latency: ArrayLike = 0.0,
    downlink: ArrayLike | None = None,
    rounds: int | None = None,
) -> SequenceCost:
    """Mean cost of a round of a sequence: over one period, or over `rounds` of them.

    Parameters
    ----------
    sequence : MixingSequence
    message_bytes, bandwidth, latency, downlink
        As in `round_cost`.
    rounds : int, optional
        How many rounds to look at; by default a period, or 32 of a random sequence.

    Raises
    ------
    InvalidParameter
        As `round_cost`, and if `rounds` is below 1.
    """
    count = check_at_least("rounds", sequence.period or _SAMPLED_ROUNDS if rounds is None else rounds, 1)
    costs = [
        round_cost(
            sequence.matrix(t),
            message_bytes=message_bytes,
            bandwidth=bandwidth,
            latency=latency,
            downlink=downlink,
        )
        for t in range(count)
    ]
    means = ("messages", "bytes", "mean_degree", "seconds")
    return SequenceCost(
        rounds=count,
        max_degree=max(cost.max_degree for cost in costs),
        longest_seconds=max(cost.seconds for cost in costs),
        **{name: float(np.mean([getattr(cost, name) for cost in costs])) for name in means},
    )


def latency_from_round_trips(round_trip_ms: ArrayLike) -> _Floats:
    """One-way latency in seconds from a matrix of measured round trips in milliseconds.

    Half of each round trip; a pair measured in one direction only takes that direction, a pair never measured
    the median; nodes are at no distance from themselves.

    Parameters
    ----------
    round_trip_ms : [n, n]
        Milliseconds; NaN or a value of at most 0 where nothing was measured.

    Raises
    ------
    InvalidParameter
        If it is not a square matrix, or holds no measurement.
    """
    measured = np.array(round_trip_ms, dtype=np.float64)
    if measured.ndim != 2 or measured.shape[0] != measured.shape[1]:
        raise InvalidParameter("round trips are a square matrix", expected="[n, n]", got=measured.shape)
    np.fill_diagonal(measured, np.nan)
    measured[~(measured > 0)] = np.nan
    missing = np.isnan(measured)
    measured[missing] = measured.T[missing]
    if np.isnan(measured).all():
        raise InvalidParameter("no round trip was measured", expected="a positive number off the diagonal")
    measured[np.isnan(measured)] = np.nanmedian(measured)
    np.fill_diagonal(measured, 0.0)
    return measured / 2000.0


def _messages(mixing: csr_array | Topology) -> tuple[_Indices, _Indices, int]:
    """Sender and receiver of each message, and the number of nodes."""
    if isinstance(mixing, Topology):
        senders = np.repeat(np.arange(mixing.n), mixing.degrees)
        return senders, mixing.indices.astype(np.int64), mixing.n
    rows = np.repeat(np.arange(mixing.shape[0]), np.diff(mixing.indptr))
    sent = (mixing.data != 0) & (rows != mixing.indices)
    return mixing.indices[sent].astype(np.int64), rows[sent], int(mixing.shape[0])


def _bandwidth(name: str, value: ArrayLike, owners: _Indices, others: _Indices, n: int) -> _Floats:
    chosen = _by_shape(name, np.asarray(value, dtype=np.float64), owners, others, n)
    if not (chosen > 0).all():
        raise InvalidParameter(
            f"the {name} of a link in use is not positive",
            expected="bits per second > 0",
            got=float(np.min(chosen)),
        )
    return chosen


def _latency(value: ArrayLike, senders: _Indices, receivers: _Indices, n: int) -> _Floats:
    delay = np.asarray(value, dtype=np.float64)
    chosen = _by_shape("latency", delay, senders, receivers, n)
    if delay.ndim == 1:
        chosen = chosen + delay[receivers]
    if not ((chosen >= 0) & np.isfinite(chosen)).all():
        raise InvalidParameter(
            "the latency of a link in use is negative or not a number",
            expected="seconds ≥ 0",
            remedy="topology.cost.latency_from_round_trips fills gaps in measurements",
        )
    return chosen


def _by_shape(name: str, value: _Floats, owners: _Indices, others: _Indices, n: int) -> _Floats:
    if value.ndim == 0:
        return np.full(len(owners), float(value))
    if value.shape == (n,):
        return value[owners]
    if value.shape == (n, n):
        return value[owners, others]
    raise InvalidParameter(
        f"the {name} does not fit the nodes",
        expected=f"a number, shape ({n},) or shape ({n}, {n})",
        got=f"shape {value.shape}",
    )


def _serialised(senders: _Indices, durations: _Floats, delay: _Floats) -> _Floats:
    """Time at which each message has left, if each sender sends one after another, the farthest first."""
    order = np.lexsort((-delay, senders))
    running = np.cumsum(durations[order])
    before = running - durations[order]
    first = np.flatnonzero(np.diff(senders[order], prepend=-1))
    base = np.repeat(before[first], np.diff(first, append=len(order)))
    left = np.empty(len(order))
    left[order] = running - base
    return left


def _shared(receivers: _Indices, arrived: _Floats, sent_in: _Floats, entering: _Floats, n: int) -> _Floats:
    """Arrival time of each message, if messages pass a node's downlink one after another."""
    begins = arrived - sent_in
    order = np.lexsort((begins, receivers))
    starts = np.flatnonzero(np.diff(receivers[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    free = np.zeros(n)
    done = np.empty(len(order))
    for place in range(int(rank.max(initial=-1)) + 1):
        now = order[rank == place]
        at = receivers[now]
        done[now] = np.maximum(arrived[now], np.maximum(free[at], begins[now]) + entering[now])
        free[at] = done[now]
    return done
