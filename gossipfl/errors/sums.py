"""Sums without summands that cannot be had, and messages that would give a summand away."""

from __future__ import annotations

from gossipfl.errors.exchanges import ExchangeFailed
from gossipfl.errors.operator import SettingError
from gossipfl.errors.refusals import MessageRefused
from gossipfl.errors.root import GossipflError

__all__ = [
    "InconsistentSum",
    "KeyUnknown",
    "NumberOutOfRange",
    "ShareForged",
    "SumKeyForged",
    "SummandsExposed",
    "TooFewSummands",
    "WrongShare",
]


class SummandsExposed(SettingError):
    """A sum would show its summands, or is of more rows than the protocol serves."""


class NumberOutOfRange(GossipflError):
    """A number of a row is too large for the fixed-point ring, or not finite."""


class TooFewSummands(ExchangeFailed):
    """More neighbours dropped out of a masked sum than its threshold allows, so it stays masked."""


class WrongShare(ExchangeFailed):
    """The shares of a neighbour's secret do not lead to that secret, so the sum stays masked.

    Attributes
    ----------
    members : tuple of int
        Numbers of those whose own shares were wrong; empty if it can be one that revealed them.
    """

    members: tuple[int, ...] = ()


class SumKeyForged(MessageRefused):
    """A key for masked sums is not signed by the member of the roster that it names, or is an old one."""


class ShareForged(MessageRefused):
    """The sealed shares of a neighbour were changed on their way, or belong to another sum.

    Attributes
    ----------
    members : tuple of int
        Numbers of those that they are said to come from.
    """

    members: tuple[int, ...] = ()


class KeyUnknown(MessageRefused):
    """The receiver of a masked sum names a neighbour whose key this peer has not been shown."""


class InconsistentSum(MessageRefused):
    """The receiver of a masked sum asks for what would unmask a single row, or contradicts itself."""
