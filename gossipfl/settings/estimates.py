"""Settings of estimates of the whole network."""

from __future__ import annotations

from gossipfl.settings.table import Table

__all__ = ["EstimatesSettings"]


class EstimatesSettings(Table):
    """Whether a peer takes part in estimates of the whole network by gossip."""

    enabled: bool = True
    """whether to tell others, signed, a metric and a sketch of the model every ten seconds, and to learn theirs"""
