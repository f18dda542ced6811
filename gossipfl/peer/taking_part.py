"""The choice between the two ways in which a peer takes part: by gossip, or in rounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gossipfl.peer.driver import Participation, Parts
from gossipfl.peer.gossip.book import AddressBook
from gossipfl.peer.gossip.driver import sampled_view, take_part_in_gossip
from gossipfl.peer.gossip.plan import GossipPlan
from gossipfl.peer.gossip.view import SampledView
from gossipfl.peer.rounds.driver import roster_book, take_part_in_rounds
from gossipfl.peer.store.home import Home
from gossipfl.rounds import RoundsPlan

__all__ = ["take_part"]


def take_part(
    parts: Parts, plan: RoundsPlan | GossipPlan, home: Home, saved: Iterable[dict[str, Any]]
) -> tuple[AddressBook | SampledView, Participation]:
    """Assemble the parts of a peer that learns as planned, and its view of others.

    Parameters
    ----------
    saved : iterable of dict
        The view from a checkpoint.

    Raises
    ------
    DamagedLedger
        If the ledger of its privacy budget cannot be read.
    SettingError
        If a library that the settings require is missing.
    """
    if isinstance(plan, RoundsPlan):
        book = roster_book(parts, plan, saved)
        return book, take_part_in_rounds(parts, plan, book, directory=home.directory)
    view = sampled_view(parts, home.acquaintances, saved)
    return view, take_part_in_gossip(parts, plan, view, directory=home.directory)
