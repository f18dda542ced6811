"""Clusters of machines that simulations run on."""

from __future__ import annotations
