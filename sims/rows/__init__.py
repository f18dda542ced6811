"""Rows of a simulation: what of a node's state lies in them, and in how many bits."""

from __future__ import annotations
