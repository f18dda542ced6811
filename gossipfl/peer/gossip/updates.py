"""Local training within one event of a gossiping peer, which may be stopped."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from gossipfl.training import Nodes, TrainingStopped

__all__ = ["Update"]


class Update:
    """Local training, or the identity, with the loss of the latest batches.

    Of the updates of one event, all or none train: a replay knows no more than that.

    Parameters
    ----------
    train : callable, optional
        Trains nodes, and asks before each step whether to go on; none for the identity.
    loss : float
        Loss of the latest batches so far.
    may_train : callable
        Whether training is permitted now.
    """

    def __init__(
        self,
        train: Callable[[Nodes, Callable[[], bool]], tuple[Nodes, Tensor]] | None,
        loss: float,
        *,
        may_train: Callable[[], bool],
    ) -> None:
        self._train = train
        self._may_train = may_train
        self.loss = loss
        self.is_stopped = False

    def __call__(self, nodes: Nodes) -> Nodes:
        """Train the nodes, if that is permitted."""
        if self._train is None or self.is_stopped:
            return nodes
        try:
            nodes, losses = self._train(nodes, self._may_train)
        except TrainingStopped:
            self.is_stopped = True
        else:
            self.loss, self._may_train = float(losses[0]), _always
        return nodes


def _always() -> bool:
    return True
