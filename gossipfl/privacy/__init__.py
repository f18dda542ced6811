"""Differential privacy of what nodes release: guarantees of Gaussian mechanisms."""

from __future__ import annotations

from gossipfl.privacy.guarantees import Guarantee, gaussian_guarantee

__all__ = ["Guarantee", "gaussian_guarantee"]
