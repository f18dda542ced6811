"""Settings of estimates of the whole network."""

from __future__ import annotations

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["EstimatesSettings"]


class EstimatesSettings(Table):
    """Whether a peer takes part in estimates of the whole network by gossip."""

    enabled: bool = True
    """whether to tell others, signed, a metric and a sketch of the model in each period, and to learn theirs"""
    period: float = Field(60.0, ge=1)
    """seconds for which an estimate is made; alike in all peers, or they do not understand each other's reports"""
