"""Failed exchanges, which are nobody's fault."""

from __future__ import annotations

from gossipfl.errors.root import GossipflError

__all__ = [
    "ExchangeFailed",
    "ExchangeTimedOut",
    "NotAdmitted",
    "PeerBusy",
    "PeerUnreachable",
    "ProtocolNotSpoken",
    "RefusedByNeighbour",
]


class ExchangeFailed(GossipflError):
    """An exchange with a neighbour failed; another neighbour may do."""


class PeerUnreachable(ExchangeFailed):
    """No connection could be made."""


class ExchangeTimedOut(ExchangeFailed):
    """The deadline of the exchange passed."""


class NotAdmitted(ExchangeFailed):
    """The other peer says that this one is not a member of its network."""


class PeerBusy(ExchangeFailed):
    """The neighbour is running, but declined for now.

    Parameters
    ----------
    what : str
    retry_after : float, optional
        Seconds after which to try again; None if the neighbour does not say.
    """

    def __init__(self, what: str, *, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.retry_after = retry_after


class ProtocolNotSpoken(ExchangeFailed):
    """The neighbour speaks none of the protocols that were proposed."""


class RefusedByNeighbour(ExchangeFailed):
    """The neighbour refused what this peer sent.

    Parameters
    ----------
    code : str
        The neighbour's reason: what `counter` gives for the error it met, e.g. ``incompatible_task``.
    text : str
        The neighbour's explanation.
    remedy : str, optional
    """

    def __init__(self, code: str, text: str, *, remedy: str | None = None) -> None:
        super().__init__(f"the neighbour refused ({code}): {text}", remedy=remedy)
        self.code = code
