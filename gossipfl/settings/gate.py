"""Settings of the gate before every merge."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from gossipfl.settings.table import Table

__all__ = ["PEAK_OF_KEYBOARDS", "GateSettings"]

PEAK_OF_KEYBOARDS: Final = 3.0


class GateSettings(Table):
    """Limits on received models; distances and norms are relative to those of the neighbours' models."""

    enabled: bool = True
    """false: merge whatever arrives unchanged"""
    radius: float = Field(3.0, gt=0)
    """distance beyond which a model is clipped, in medians of the neighbours' distances"""
    peak: float | None = Field(None, gt=0)
    """change of any one number beyond which a model is clipped, in medians of the neighbours' largest changes;
    unset: 3 for keyboards, where one number can have a word suggested everywhere, and no limit otherwise"""
    smallest_radius: float = Field(0.001, ge=0)
    """distance that is never clipped, as a share of the norm of the peer's own model"""
    angle: float = Field(0.8, gt=0, le=2)
    """1 − cos of the angle to the peer's own model above which a model is refused"""
    angle_medians: float = Field(2.0, gt=0)
    """the same in multiples of what a quarter of the neighbours' angles do not exceed; the larger bound counts"""
    norm: float = Field(4.0, gt=1)
    """factor from the neighbours' median norm beyond which a model is refused"""
    loss: float = Field(1.25, gt=0)
    """largest loss of the mean of a model and one's own on samples of one's own: so many times that of the
    initial model, and the neighbours' median on top; beyond, a model is merged a quarter of the way the first
    time, and then the sender's models are refused"""
    loss_samples: int = Field(64, ge=0)
    """number of samples that loss is measured on; 0: not measured"""
    unmoved: float = Field(0.02, ge=0)
    """movement of a sender between messages, as a share of its distance, that counts as none"""
    unmoved_times: int = Field(2, gt=0)
    """messages in a row after which a sender that has not moved is refused"""
    unmoved_distance: float = Field(0.02, ge=0)
    """distance, as a share of the norm of the peer's own model, within which a sender may stay put"""
    pace: float = Field(10.0, gt=0)
    """training steps per second that are plausible if no other peer vouches for them"""
    age_slack: int = Field(16, ge=0)
    """training steps above the third quartile of the neighbours' ages that are credited"""
    fair_shares: float = Field(2.0, ge=1)
    """multiple of its fair share of the merges that one sender may have; further models are merged a smaller part
    of the way, and followed by no training"""
    offences: int = Field(3, gt=0)
    """refusals after which a sender is quarantined"""
    quarantine: float = Field(60.0, gt=0)
    """seconds of the first quarantine; each later one is twice as long"""
    longest_quarantine: float = Field(3600.0, gt=0)
    """seconds of the longest quarantine"""
    forgiveness: float = Field(120.0, gt=0)
    """seconds in which one offence is forgiven"""
