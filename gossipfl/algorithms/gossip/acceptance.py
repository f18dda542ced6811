"""Acceptance of received models by their distance from the node's own, before they are merged.

A model that is too far away is pulled in to the radius, or not merged at all. The radius is a share of the norm of
the node's own model, as in Fang et al., "Byzantine-robust decentralized federated learning", ACM CCS 2024
(BALANCE, with κ = 0), or a multiple of the distances of the models that came before, as the radius of centred
clipping may be chosen (Karimireddy, He & Jaggi, "Learning from history for Byzantine robust optimization", ICML
2021). The usual distance follows that of most messages: models beyond the radius count as if they were at it, so
that with a multiple of 2 it stays bounded as long as fewer than half of the messages are lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import torch
from torch import Tensor

from gossipfl.algorithms.declaration import Parameter
from gossipfl.algorithms.gossip.sharing import Sharing
from gossipfl.algorithms.messages import Message
from gossipfl.errors import SettingError
from gossipfl.training.nodes import Nodes

__all__ = ["ANYTHING", "Acceptance"]

_DISTANCE: Final = "usual_distance"
_WINDOW: Final = 16  # models over which the usual distance is a moving average
_RADII: Final = {"norm": 0.5, "history": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The models that a node merges, by their distance from its own.

    Raises
    ------
    SettingError
        A radius is given where there is none.

    Examples
    --------
    >>> Acceptance(within="history").reach
    2.0
    """

    within: Annotated[
        Literal["any", "norm", "history"],
        Parameter(
            "which radius: none; a share of the norm of the node's own model; or a multiple of the usual distance "
            "of the models before"
        ),
    ] = "any"
    radius: Annotated[
        float | None,
        Parameter("the share or the multiple; 0.5 of the norm or 2 of the history if unset", gt=0),
    ] = None
    beyond: Annotated[
        Literal["clip", "refuse"],
        Parameter("what becomes of models beyond it: pulled in to it, or not merged"),
    ] = "clip"

    def __post_init__(self) -> None:
        if self.within == "any" and self.radius is not None:
            raise SettingError(
                "acceptance.radius is without effect where any model is accepted",
                got=self.radius,
                remedy="Leave it out, or set within = 'norm' or 'history'.",
            )

    @property
    def reach(self) -> float:
        """The share or the multiple."""
        return self.radius or _RADII.get(self.within, float("inf"))

    def start(self, nodes: Nodes) -> Nodes:
        """Nodes that remember the usual distance, if it is needed; 0 until a model has come."""
        if self.within != "history":
            return nodes
        return replace(nodes, auxiliary={**nodes.auxiliary, _DISTANCE: torch.zeros_like(nodes.rows[:, 0])})

    def applied(self, nodes: Nodes, message: Message, sharing: Sharing) -> tuple[Nodes, Message]:
        """Nodes with what they learn of usual distances, and messages as they are merged.

        Parameters
        ----------
        nodes : Nodes
            B nodes.
        message : Message
            One for each. Of a refused one the node's own model is left, at the node's own age: merging it changes
            nothing.
        sharing : Sharing
            Which numbers of the messages were sent: only these have a distance.
        """
        if self.within == "any":
            return nodes, message
        own = nodes.rows[:, : message.size]
        apart, mine = message.shared - own, own
        if message.part is not None:
            chosen = sharing.chosen(message.part, message.size)
            apart, mine = torch.where(chosen, apart, 0.0), torch.where(chosen, mine, 0.0)
        distance = torch.linalg.vector_norm(apart, dim=1)
        finite = distance.isfinite()
        distance = torch.where(finite, distance, torch.inf)
        usual = torch.linalg.vector_norm(mine, dim=1) if self.within == "norm" else nodes.auxiliary[_DISTANCE]
        # A model of zeros has no norm, and the first that comes none before it.
        radius = torch.where(usual > 0, self.reach * usual, torch.inf)
        if self.within == "history":
            heard = torch.where(finite, torch.minimum(distance, radius), usual)
            learned = torch.where(usual > 0, torch.lerp(usual, heard, 1 / _WINDOW), heard)
            nodes = replace(nodes, auxiliary={**nodes.auxiliary, _DISTANCE: learned})
        return nodes, self._let_in(nodes, message, distance=distance, radius=radius)

    def _let_in(self, nodes: Nodes, message: Message, *, distance: Tensor, radius: Tensor) -> Message:
        own, near = nodes.rows[:, : message.size], distance <= radius
        is_merged = near & distance.isfinite()
        if self.beyond == "clip":
            is_merged = distance.isfinite()
            share = (radius / distance.clamp(min=torch.finfo(own.dtype).tiny)).to(own.dtype)
            clipped = torch.lerp(own, message.shared, torch.where(near, 1.0, share)[:, None])
            shared = torch.where(near[:, None], message.shared, clipped)
        else:
            shared = message.shared
        told = is_merged.view(-1, *[1] * (message.ages.dim() - 1))
        return replace(
            message,
            shared=torch.where(is_merged[:, None], shared, own),
            ages=torch.where(told, message.ages, nodes.ages),
        )


ANYTHING: Final = Acceptance()
