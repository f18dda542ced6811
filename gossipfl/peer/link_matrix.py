"""Bandwidths from each member to each, as the members have measured them: for matchings over fast links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["link_matrix"]

Values = Mapping[str, Any]


def link_matrix(
    members: Sequence[str], statuses: Sequence[Values], examinations: Sequence[Values | None]
) -> NDArray[np.float64]:
    """Bandwidths in Mbit/s from each member to each, ``[n, n]``; NaN where nobody measured, 0 to itself.

    A link is as fast as the faster of what its sender and its receiver saw: a transfer that waits for something
    else shows less than the link can do, and never more. Large rows have measured it, or the doctor.

    Parameters
    ----------
    members : sequence of str
        Peer ids, in order of their numbers.
    statuses : sequence of mapping
        Of each member, with ``peers``.
    examinations : sequence of mapping or None
        What the doctor saw at each, with ``neighbours``.
    """
    numbers = {peer_id: number for number, peer_id in enumerate(members)}
    seen = np.full((len(members), len(members)), np.nan)
    for own, (status, examination) in enumerate(zip(statuses, examinations, strict=True)):
        rates = [(each["peer_id"], each.get("upload"), each.get("download")) for each in status["peers"]]
        for each in () if examination is None else examination["neighbours"]:
            by_doctor = each.get("bandwidth", {})
            up, down = (by_doctor.get(way, {}).get("bytes_per_second") for way in ("upload", "download"))
            rates.append((each["peer_id"], up, down))
        for peer_id, upload, download in rates:
            other = numbers.get(peer_id)
            if other is None or other == own:
                continue
            for sender, receiver, rate in ((own, other, upload), (other, own, download)):
                if rate is not None:
                    seen[sender, receiver] = np.fmax(seen[sender, receiver], 8e-6 * rate)
    np.fill_diagonal(seen, 0.0)
    return seen
