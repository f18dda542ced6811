"""Random samples of a network's members, the same everywhere, without I/O.

The reports of an epoch are ordered by a hash of the epoch and the reporter's key, and everybody keeps the first K.
Unions of such samples are such samples, so reports may be told in any order, repeated or lost; whoever has heard
all knows the first K of the whole network, which are a uniform sample of it. A new epoch begins with nothing, so
members that have gone are forgotten. A liar has one report like everybody else.

Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from gossipfl.wire.reports import REPORT_BYTES, Report, order_of, read_report

__all__ = ["MOST_REPORTS", "Sample"]

MOST_REPORTS: Final = 64


class Sample:
    """The first reports of one epoch that are known here.

    Parameters
    ----------
    task : bytes
        Fingerprint of the task.
    is_stranger : callable, optional
        Returns whether a public key is known not to be a member's.
    """

    def __init__(
        self, task: bytes, epoch: int, *, is_stranger: Callable[[bytes], bool] = lambda _: False
    ) -> None:
        self.epoch = epoch
        self._task = task
        self._is_stranger = is_stranger
        self._reports: dict[int, tuple[Report, bytes]] = {}

    @property
    def known(self) -> tuple[int, ...]:
        """Places in the order of the reports, ascending."""
        return tuple(sorted(self._reports))

    @property
    def reports(self) -> list[Report]:
        """The reports in order."""
        return [self._reports[place][0] for place in self.known]

    @property
    def is_full(self) -> bool:
        """Whether there may be more members than reports."""
        return len(self._reports) >= MOST_REPORTS

    def encoded(self, places: Iterable[int]) -> bytes:
        """Return the reports at these places, as far as they are known."""
        return b"".join(self._reports[place][1] for place in places if place in self._reports)

    def missing(self, places: Collection[int]) -> list[int]:
        """Return those of the places whose reports would be kept here and are not known."""
        wanted = [place for place in sorted(set(places)) if self._would_keep(place)]
        return wanted[:MOST_REPORTS]

    def add(self, data: bytes) -> None:
        """Keep those of the encoded reports that belong to the sample; signatures of others are not looked at.

        Raises
        ------
        MalformedStatement
            One is no report, or is not signed correctly.
        """
        for start in range(0, len(data), REPORT_BYTES):
            piece = data[start : start + REPORT_BYTES]
            place = order_of(self._task, piece[:32], self.epoch)
            if not self._would_keep(place) or self._is_stranger(piece[:32]):
                continue
            report = read_report(piece, task=self._task)
            if report.epoch != self.epoch:
                continue
            self._reports[place] = (report, piece)
            if len(self._reports) > MOST_REPORTS:
                del self._reports[max(self._reports)]

    def _would_keep(self, place: int) -> bool:
        return place not in self._reports and (not self.is_full or place < max(self._reports))
