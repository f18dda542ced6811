"""Peer-to-peer gossip learning: peers train on their own data and converge to one shared model."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
